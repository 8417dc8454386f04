//! One 512-byte header of a tar archive.

/// Length of a header and of every block after it.
pub const BLOCK: usize = 512;

/// The name and size of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub size: u64,
}

/// Reads a header; `None` is the end of the archive or a damaged size.
pub fn parse(block: &[u8; BLOCK]) -> Option<Entry> {
    let name = text(&block[..100]);
    if name.is_empty() {
        return None;
    }
    let size = u64::from_str_radix(text(&block[124..136]).trim(), 8).ok()?;
    Some(Entry { name, size })
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_block_ends_the_archive() {
        assert_eq!(parse(&[0; BLOCK]), None);
    }
}
