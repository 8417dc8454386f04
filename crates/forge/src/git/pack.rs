//! Looking into packs without a process: is an object there, what kind is it, and its bytes if it is no delta.
//!
//! Format: gitformat-pack(5), index version 2. Anything unexpected is "not found here": the caller then asks git.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::{ObjectKind, Oid};

const FANOUT_END: u64 = 8 + 256 * 4;
const MAX_INLINE: u64 = 16 << 20;

/// Searches all packs of a repository.
pub(crate) fn read_from_packs(git_dir: &Path, oid: Oid) -> Option<(ObjectKind, Vec<u8>)> {
    for entry in fs::read_dir(git_dir.join("objects/pack")).ok()?.flatten() {
        let index = entry.path();
        if index.extension().is_some_and(|e| e == "idx")
            && let Some(found) = read_from_pack(&index, oid)
        {
            return Some(found);
        }
    }
    None
}

/// Reads one object from the pack that belongs to this index, unless it is stored as a delta.
pub(crate) fn read_from_pack(index: &Path, oid: Oid) -> Option<(ObjectKind, Vec<u8>)> {
    let offset = offset_of(index, oid)?;
    let mut pack = File::open(index.with_extension("pack")).ok()?;
    pack.seek(SeekFrom::Start(offset)).ok()?;
    let (kind, size) = entry_header(&mut pack)?;
    if size > MAX_INLINE {
        return None;
    }
    let mut content = Vec::with_capacity(usize::try_from(size).ok()?);
    ZlibDecoder::new(pack)
        .take(size)
        .read_to_end(&mut content)
        .ok()?;
    (content.len() as u64 == size).then_some((kind, content))
}

/// Whether the index names the object.
pub(crate) fn contains(index: &Path, oid: Oid) -> bool {
    offset_of(index, oid).is_some()
}

fn entry_header(pack: &mut File) -> Option<(ObjectKind, u64)> {
    let mut byte = [0];
    pack.read_exact(&mut byte).ok()?;
    let kind = match (byte[0] >> 4) & 7 {
        1 => ObjectKind::Commit,
        2 => ObjectKind::Tree,
        3 => ObjectKind::Blob,
        4 => ObjectKind::Tag,
        _ => return None,
    };
    let mut size = u64::from(byte[0] & 15);
    let mut shift = 4;
    while byte[0] & 0x80 != 0 {
        pack.read_exact(&mut byte).ok()?;
        size |= u64::from(byte[0] & 0x7f).checked_shl(shift)?;
        shift += 7;
    }
    Some((kind, size))
}

fn offset_of(index: &Path, oid: Oid) -> Option<u64> {
    let mut file = File::open(index).ok()?;
    let mut head = [0; 8];
    file.read_exact(&mut head).ok()?;
    if head != [0xff, b't', b'O', b'c', 0, 0, 0, 2] {
        return None;
    }
    let first = usize::from(oid.as_bytes()[0]);
    let low = if first == 0 {
        0
    } else {
        u32_at(&mut file, 8 + 4 * (first as u64 - 1))?
    };
    let high = u32_at(&mut file, 8 + 4 * first as u64)?;
    let total = u64::from(u32_at(&mut file, FANOUT_END - 4)?);
    let position = u64::from(search(&mut file, oid, low, high)?);
    let small = u32_at(&mut file, FANOUT_END + total * 24 + position * 4)?;
    if small & 0x8000_0000 == 0 {
        return Some(u64::from(small));
    }
    let mut large = [0; 8];
    file.seek(SeekFrom::Start(
        FANOUT_END + total * 28 + u64::from(small & 0x7fff_ffff) * 8,
    ))
    .ok()?;
    file.read_exact(&mut large).ok()?;
    Some(u64::from_be_bytes(large))
}

fn search(file: &mut File, oid: Oid, mut low: u32, mut high: u32) -> Option<u32> {
    while low < high {
        let middle = low + (high - low) / 2;
        let mut name = [0; 20];
        file.seek(SeekFrom::Start(FANOUT_END + u64::from(middle) * 20))
            .ok()?;
        file.read_exact(&mut name).ok()?;
        match name.cmp(oid.as_bytes()) {
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

fn u32_at(file: &mut File, offset: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(u32::from_be_bytes(bytes))
}
