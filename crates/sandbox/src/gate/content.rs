//! What kind of content a file begins with.

/// Bytes that tell the kind.
pub(crate) const HEAD: usize = 20;

/// Kinds of content, as far as execution goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// An ELF program or shared library.
    Program,
    /// An ELF file that can only be linked: no loader takes it.
    Object,
    /// A script that names its interpreter.
    Script,
    /// Anything else.
    Other,
}

/// Offsets and values of the ELF header (elf(5)).
const DATA: usize = 5;
const BIG_ENDIAN: u8 = 2;
const TYPE: usize = 16;
const RELOCATABLE: u16 = 1;
const CORE: u16 = 4;

/// The kind of content that begins with `head`: the first [`HEAD`] bytes, or all there are.
pub(crate) fn sniff(head: &[u8]) -> Content {
    if head.starts_with(b"#!") {
        return Content::Script;
    }
    if !head.starts_with(b"\x7fELF") {
        return Content::Other;
    }
    let kind = head
        .get(TYPE..TYPE + 2)
        .and_then(|bytes| <[u8; 2]>::try_from(bytes).ok())
        .map(|bytes| {
            if head[DATA] == BIG_ENDIAN {
                u16::from_be_bytes(bytes)
            } else {
                u16::from_le_bytes(bytes)
            }
        });
    match kind {
        Some(RELOCATABLE | CORE) => Content::Object,
        // Whatever is not known to be harmless may be loaded by something.
        _ => Content::Program,
    }
}

/// Endings of files that interpreters take for programs.
const SCRIPTS: &[&[u8]] = &[
    b"bash", b"cjs", b"js", b"jsx", b"lua", b"mjs", b"mts", b"php", b"pl", b"pm", b"ps1", b"py",
    b"pyc", b"r", b"rb", b"sh", b"tcl", b"ts", b"tsx", b"zsh",
];

/// Whether a file of this name is a program to an interpreter, going by its ending.
pub(crate) fn is_script_name(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else {
        return false;
    };
    let ending = name[dot + 1..].to_ascii_lowercase();
    SCRIPTS.contains(&ending.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elf(kind: u16, data: u8) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        head[DATA] = data;
        head.extend(if data == BIG_ENDIAN {
            kind.to_be_bytes()
        } else {
            kind.to_le_bytes()
        });
        head.extend([0x3e, 0]);
        head
    }

    #[test]
    fn programs_libraries_objects_and_scripts_are_told_apart() {
        for data in [1, 2] {
            assert_eq!(sniff(&elf(2, data)), Content::Program);
            assert_eq!(sniff(&elf(3, data)), Content::Program);
            assert_eq!(sniff(&elf(1, data)), Content::Object);
            assert_eq!(sniff(&elf(0xfe00, data)), Content::Program);
        }
        assert_eq!(sniff(b"#!/bin/sh\n"), Content::Script);
        assert_eq!(sniff(b"# !/bin/sh\n"), Content::Other);
        assert_eq!(sniff(b""), Content::Other);
    }

    #[test]
    fn script_names_are_known_by_their_ending() {
        assert!(is_script_name(b"/a/b.PY"));
        assert!(is_script_name(b"x.test.js"));
        assert!(!is_script_name(b"/a.js/b"));
        assert!(!is_script_name(b"/a/js"));
        assert!(!is_script_name(b""));
    }

    proptest! {
        #[test]
        fn no_head_is_a_panic_and_every_elf_but_objects_may_be_loaded(mut head in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = sniff(&head);
            let magic = b"\x7fELF".len().min(head.len());
            head[..magic].copy_from_slice(&b"\x7fELF"[..magic]);
            if magic == 4 {
                prop_assert!(matches!(sniff(&head), Content::Program | Content::Object));
            }
        }
    }
}
