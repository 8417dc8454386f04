//! What can go wrong, with the cure. Nothing half-made is visible after any of these.

use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;

/// Why a recipe, an image or a hint could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a recipe makes no sense.
    #[error("`{field}` {problem}")]
    Field {
        /// Where, as in `services[0].ready.port`.
        field: String,
        /// A sentence about it, without its subject.
        problem: String,
    },
    /// A file or folder could not be read or written.
    #[error("could not {action} {path}")]
    Io {
        /// What was being done: a verb phrase.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder that is to be a root has something in it that cannot be read, so nobody can say what the
    /// root is.
    #[error("{path} cannot be read ({problem}), so the folder it is in has no digest; make it readable for this user, or leave it out of the folder", path = path.display())]
    Unreadable {
        /// The file, folder or link.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// A layer of an image is hostile, damaged, or more than the limits allow.
    #[error("layer {layer}, entry `{entry}`: {problem}")]
    Layer {
        /// The layer's digest as the image names it.
        layer: String,
        /// The entry's name as it stands in the archive, cleaned; empty where it is about the layer.
        entry: String,
        /// What is wrong.
        problem: LayerProblem,
    },
    /// Image metadata is missing, damaged or of a kind that is not supported.
    #[error("image {image}: {problem}")]
    Image {
        /// The image, as the recipe names it.
        image: String,
        /// What is wrong.
        problem: String,
    },
    /// Bytes are not the ones their digest promises.
    #[error("{what} has digest {found}, not {wanted}")]
    WrongDigest {
        /// Which bytes.
        what: String,
        /// What was promised.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// Bytes are fewer or more than promised.
    #[error("{what} has {found} bytes, not {wanted}; try again")]
    WrongSize {
        /// Which bytes.
        what: String,
        /// What was promised.
        wanted: u64,
        /// What came; counting stops one after what was promised.
        found: u64,
    },
    /// The text is not an image reference.
    #[error("`{reference}` is not an image reference: {problem}")]
    Reference {
        /// The text.
        reference: String,
        /// What is wrong and how to write it.
        problem: String,
    },
    /// The registry does not have it.
    #[error("{registry} has no {what}")]
    NotFound {
        /// Host and port.
        registry: String,
        /// Which manifest or blob.
        what: String,
    },
    /// The registry wants other credentials.
    #[error("{registry} refuses {what}: {problem}")]
    Refused {
        /// Host and port.
        registry: String,
        /// Which manifest or blob.
        what: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The registry answered what the protocol does not allow, or nothing.
    #[error("{registry}: {problem}")]
    Registry {
        /// Host and port.
        registry: String,
        /// What happened.
        problem: String,
    },
    /// `devcontainer.json` asks for what cannot be had here, or is not understood.
    #[error("{file}: `{key}` {problem}")]
    Devcontainer {
        /// The file.
        file: String,
        /// The key, with dots.
        key: String,
        /// A sentence without its subject.
        problem: String,
    },
    /// A file that names toolchain versions is not understood.
    #[error("{file}:{line}: {problem}")]
    Hint {
        /// The file, relative to the repository.
        file: String,
        /// From 1.
        line: u32,
        /// What is wrong.
        problem: String,
    },
}

/// What is wrong with a layer or one of its entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerProblem {
    /// A name with `..`.
    #[error("its name climbs with `..`")]
    Climbs,
    /// A name that begins with `/`.
    #[error("its name is absolute")]
    Absolute,
    /// No name, or one with a zero byte.
    #[error("its name is empty or has a zero byte")]
    Name,
    /// A name longer or deeper than the limits.
    #[error("its name is longer than {bytes} bytes, or deeper than {depth} folders")]
    TooLong {
        /// Limit in bytes.
        bytes: usize,
        /// Limit in folders.
        depth: usize,
    },
    /// An entry below a symbolic link.
    #[error("it would be written through the symbolic link `{0}`")]
    ThroughLink(String),
    /// An entry below something that is neither folder nor link.
    #[error("it is below `{0}`, which is not a folder")]
    BelowFile(String),
    /// The same name twice.
    #[error("the layer has this name twice")]
    Duplicate,
    /// A hard link whose target is nothing, or no regular file.
    #[error("it is a hard link to `{target}`, which is {what}")]
    HardLink {
        /// The target's name.
        target: String,
        /// `missing`, `a symbolic link`, …
        what: &'static str,
    },
    /// A named pipe.
    #[error("it is a named pipe")]
    Fifo,
    /// Sparse files and other kinds that only some archivers know.
    #[error("it is of a kind that is not supported (type `{0}`)")]
    Kind(String),
    /// A header that makes no sense.
    #[error("its header is damaged: {0}")]
    Header(&'static str),
    /// A pax header that makes no sense, or says what must not be said.
    #[error("its pax header {0}")]
    Pax(String),
    /// A whiteout of the folder itself, its parent, or of nothing.
    #[error("it is a whiteout of `{0}`")]
    Whiteout(String),
    /// More entries than the limit.
    #[error("the layers have more than {0} entries")]
    Entries(u64),
    /// Names that are too long together.
    #[error("the names of the layers' entries have more than {0} bytes together")]
    Names(u64),
    /// A file larger than the limit.
    #[error("it is larger than {0} bytes")]
    FileSize(u64),
    /// More bytes than the limit.
    #[error("the layers unpack to more than {0} bytes")]
    TotalSize(u64),
    /// A decompression bomb.
    #[error("it unpacks to more than {0} times its size")]
    Ratio(u64),
    /// The archive ends too early.
    #[error("the archive ends in the middle")]
    Truncated,
    /// Something stands behind the end of the archive.
    #[error("there is data behind the end of the archive")]
    Trailing,
    /// The compressed stream is damaged, or something stands behind it.
    #[error("the compressed stream is damaged: {0}")]
    Compression(String),
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn layer(layer: &str, entry: &[u8], problem: LayerProblem) -> Self {
        Self::Layer {
            layer: layer.to_owned(),
            entry: clean(entry),
            problem,
        }
    }
}

/// Text from outside for a message: no control characters, bounded.
pub(crate) fn clean(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    let mut cleaned: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if bytes.len() > SHOWN {
        cleaned.push('…');
    }
    cleaned
}
