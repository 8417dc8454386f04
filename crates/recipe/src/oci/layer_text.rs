//! Layers and trees as text, one entry a line, so that they can be kept and compared.
//!
//! ```text
//! nightcrew layer 1
//! d MODE MTIME PATH               a folder; MODE octal
//! i PATH                          a folder that only follows from what is in it
//! f MODE MTIME SIZE SHA256 PATH   a file
//! l MTIME PATH TARGET             a symbolic link
//! h PATH TARGET                   a hard link to a file of a lower layer
//! w PATH                          takes PATH of lower layers away
//! o PATH                          takes away what lower layers have in PATH
//! n PATH TEXT                     what was left out or changed
//! end SHA256                      of all before this line
//! ```
//!
//! Bytes that are not printable ASCII, and `%`, are written `%XX`; the root is `.`.

use std::fmt::Write as _;

use super::layer::{FileNode, Layer, Node};
use crate::Digest;

const HEAD: &str = "nightcrew layer 1\n";

impl Layer {
    /// Its text. Equal layers have equal texts.
    pub(crate) fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (path, node) in &self.nodes {
            let path = escape(path);
            // Writing to a string cannot fail.
            let _ = match node {
                Node::Folder { implied: true, .. } => writeln!(text, "i {path}"),
                Node::Folder { mode, mtime, .. } => writeln!(text, "d {mode:o} {mtime} {path}"),
                Node::File(file) => {
                    let FileNode {
                        sha256,
                        size,
                        mode,
                        mtime,
                    } = file;
                    writeln!(text, "f {mode:o} {mtime} {size} {} {path}", sha256.hex())
                }
                Node::Symlink { target, mtime } => {
                    writeln!(text, "l {mtime} {path} {}", escape(target))
                }
                Node::HardLink { target } => writeln!(text, "h {path} {}", escape(target)),
            };
        }
        for (mark, paths) in [('w', &self.whiteouts), ('o', &self.opaque)] {
            for path in paths {
                let _ = writeln!(text, "{mark} {}", escape(path));
            }
        }
        for (path, note) in &self.notes {
            let _ = writeln!(text, "n {} {}", escape(path), escape(note.as_bytes()));
        }
        let sum = Digest::of(text.as_bytes()).hex();
        let _ = writeln!(text, "end {sum}");
        text
    }

    /// Reads a text; none if it is not exactly what [`to_text`](Self::to_text) writes.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (body, end) = text.split_at(text.rfind("end ")?);
        let sum = end.strip_prefix("end ")?.strip_suffix('\n')?;
        if Digest::of(body.as_bytes()).hex() != sum {
            return None;
        }
        let mut layer = Self::default();
        for line in body.strip_prefix(HEAD)?.lines() {
            layer.line(line)?;
        }
        Some(layer)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let (path, node) = match words[..] {
            ["i", path] => (
                path,
                Node::Folder {
                    mode: 0o755,
                    mtime: 0,
                    implied: true,
                },
            ),
            ["d", mode, mtime, path] => {
                let folder = Node::Folder {
                    mode: octal(mode)?,
                    mtime: mtime.parse().ok()?,
                    implied: false,
                };
                (path, folder)
            }
            ["f", mode, mtime, size, sha256, path] => {
                let file = FileNode {
                    sha256: Digest::from_hex(sha256)?,
                    size: size.parse().ok()?,
                    mode: octal(mode)?,
                    mtime: mtime.parse().ok()?,
                };
                (path, Node::File(file))
            }
            ["l", mtime, path, target] => {
                let link = Node::Symlink {
                    target: unescape(target)?,
                    mtime: mtime.parse().ok()?,
                };
                (path, link)
            }
            ["h", path, target] => (
                path,
                Node::HardLink {
                    target: unescape(target)?,
                },
            ),
            ["w", path] => return self.whiteouts.insert(unescape(path)?).then_some(()),
            ["o", path] => return self.opaque.insert(unescape(path)?).then_some(()),
            ["n", path, note] => {
                self.notes
                    .push((unescape(path)?, String::from_utf8(unescape(note)?).ok()?));
                return Some(());
            }
            _ => return None,
        };
        self.nodes
            .insert(unescape(path)?, node)
            .is_none()
            .then_some(())
    }
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok()
}

fn escape(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return ".".to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            // A lone dot is the root.
            b'.' if bytes.len() == 1 => text.push_str("%2E"),
            b'!'..=b'~' if *byte != b'%' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    if text == "." {
        return Some(Vec::new());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let mut byte = [0];
            hex::decode_to_slice(after.get(..2)?, &mut byte).ok()?;
            bytes.push(byte[0]);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node() -> impl Strategy<Value = Node> {
        let bytes = || proptest::collection::vec(any::<u8>(), 1..20);
        prop_oneof![
            (0u32..0o2000, any::<u32>()).prop_map(|(mode, mtime)| Node::Folder {
                mode,
                mtime: mtime.into(),
                implied: false
            }),
            Just(Node::Folder {
                mode: 0o755,
                mtime: 0,
                implied: true
            }),
            (any::<[u8; 32]>(), any::<u64>(), 0u32..0o1000, any::<u32>()).prop_map(
                |(sum, size, mode, mtime)| {
                    Node::File(FileNode {
                        sha256: Digest::from_bytes(sum),
                        size,
                        mode,
                        mtime: mtime.into(),
                    })
                }
            ),
            (bytes(), any::<u32>()).prop_map(|(target, mtime)| Node::Symlink {
                target,
                mtime: mtime.into()
            }),
            bytes().prop_map(|target| Node::HardLink { target }),
        ]
    }

    fn paths() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..20)
    }

    proptest! {
        #[test]
        fn a_layer_comes_back_from_its_text(
            nodes in proptest::collection::btree_map(paths(), node(), 0..10),
            whiteouts in proptest::collection::btree_set(paths(), 0..4),
            opaque in proptest::collection::btree_set(paths(), 0..4),
            notes in proptest::collection::vec((paths(), ".{0,20}"), 0..3),
        ) {
            let layer = Layer { nodes, whiteouts, opaque, notes };
            prop_assert_eq!(Layer::from_text(&layer.to_text()), Some(layer));
        }

        #[test]
        fn any_text_is_refused_or_read(text in "(nightcrew layer 1\n)?([difhlwon] [ -~]{0,20}\n){0,4}") {
            let with_sum = format!("{text}end {}\n", Digest::of(text.as_bytes()).hex());
            let _ = (Layer::from_text(&text), Layer::from_text(&with_sum));
        }
    }
}
