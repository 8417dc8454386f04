//! The objects of a change, in portions that fit into memory.

use forge::git::Oid;

use crate::collect::InnerGit;
use crate::verify::{VerifyError, batch};

/// Most bytes of the list of objects.
const LIST_BYTES: usize = 32 << 20;
/// Bytes of objects that are looked through at once.
const PORTION: u64 = 16 << 20;
/// Most bytes of one object; a bigger one cannot be looked through.
const LONGEST: u64 = 256 << 20;
/// Bytes around each object in git's answer.
const HEADER: u64 = 128;

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) oid: Oid,
    pub(super) is_tree: bool,
    size: u64,
}

/// Everything that the pack of this name holds, whether something names it or not.
pub(super) async fn list(
    git: &mut InnerGit<'_>,
    pack: &str,
) -> Result<Vec<Vec<Object>>, VerifyError> {
    let index = format!("/work/.git/objects/pack/pack-{pack}.idx");
    let answer = git
        .run(&["verify-pack", "-v", &index], None, LIST_BYTES)
        .await?;
    if answer.cut || !answer.succeeded() {
        return Err(VerifyError::Refused(
            "its objects cannot be listed".to_owned(),
        ));
    }
    portions(parse(&String::from_utf8_lossy(&answer.out)))
}

/// `OID KIND SIZE PACKED OFFSET …` for each object; other lines sum up (git-verify-pack(1)).
fn parse(list: &str) -> Vec<Object> {
    let one = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let oid = words.next()?.parse().ok()?;
        let kind = words.next()?;
        let size = words.next()?.parse().ok()?;
        Some(Object {
            oid,
            is_tree: kind == "tree",
            size,
        })
    };
    list.lines().filter_map(one).collect()
}

fn portions(objects: Vec<Object>) -> Result<Vec<Vec<Object>>, VerifyError> {
    let mut portions: Vec<Vec<Object>> = Vec::new();
    let mut room = 0;
    for object in objects {
        if object.size > LONGEST {
            return Err(VerifyError::Refused(format!(
                "it has an object of more than {LONGEST} bytes, which cannot be searched for secrets"
            )));
        }
        if portions.is_empty() || object.size > room {
            portions.push(Vec::new());
            room = PORTION;
        }
        room = room.saturating_sub(object.size);
        if let Some(portion) = portions.last_mut() {
            portion.push(object);
        }
    }
    Ok(portions)
}

/// Reads a portion.
pub(super) async fn read(
    git: &mut InnerGit<'_>,
    portion: &[Object],
) -> Result<Vec<(Object, Vec<u8>)>, VerifyError> {
    let list: String = portion
        .iter()
        .map(|object| format!("{}\n", object.oid))
        .collect();
    let limit: u64 = portion.iter().map(|object| object.size + HEADER).sum();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let answer = git
        .run(&["cat-file", "--batch"], Some(list.as_bytes()), limit)
        .await?;
    let contents = (!answer.cut).then(|| batch(&answer.out)).flatten();
    let mut contents =
        contents.ok_or_else(|| VerifyError::Refused("its objects cannot be read".to_owned()))?;
    let mut read = Vec::new();
    for object in portion {
        // An object that git lists and does not give would go unseen.
        let content = contents.remove(&object.oid);
        let content =
            content.ok_or_else(|| VerifyError::Refused("an object of it is missing".to_owned()))?;
        read.push((object.clone(), content));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_cut_into_portions() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let list = format!(
            "{a} blob   20 30 12\n{b} tree   16000000 9 51 1 {a}\nnon delta: 2 objects\nx.pack: ok\n"
        );
        let objects = parse(&list);
        assert_eq!(
            objects
                .iter()
                .map(|o| (o.is_tree, o.size))
                .collect::<Vec<_>>(),
            [(false, 20), (true, 16_000_000)]
        );
        let mut many = objects.clone();
        many.extend(objects);
        assert_eq!(
            portions(many.clone())
                .ok()
                .unwrap()
                .iter()
                .map(Vec::len)
                .collect::<Vec<_>>(),
            [3, 1]
        );
        many[0].size = LONGEST + 1;
        assert!(portions(many).is_err());
    }
}
