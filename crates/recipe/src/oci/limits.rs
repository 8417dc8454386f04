//! How much an image may be.

/// Bounds of an image. Every one of them is checked while reading, before memory or disk is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of all layers together.
    pub entries: u64,
    /// Bytes of all layers together, unpacked.
    pub total_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// How many times its size a layer may unpack to, once it has unpacked to 64 MiB.
    pub ratio: u64,
    /// Bytes of a path.
    pub path_bytes: usize,
    /// Folders within folders.
    pub depth: usize,
    /// Layers.
    pub layers: usize,
}

impl Limits {
    /// Below this many bytes no ratio is a bomb.
    pub(crate) const RATIO_FROM: u64 = 64 << 20;
    /// Largest manifest, list or configuration, in bytes.
    pub(crate) const METADATA: u64 = 4 << 20;
    /// Largest extension header of one entry, in bytes.
    pub(crate) const EXTENSION: u64 = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            total_bytes: 64 << 30,
            file_bytes: 16 << 30,
            ratio: 200,
            // The kernel's own limit, less some room.
            path_bytes: 4000,
            depth: 200,
            layers: 256,
        }
    }
}
