//! Container images: reading, fetching, unpacking.
//!
//! An [`ImageReader`] yields metadata and layers: from a [layout folder](LayoutFolder), a
//! [tarball](Tarball), or a [registry](RegistryImage). An [`ImageStore`] unpacks them.
//!
//! Layers are built up in memory as trees of names, in which there is no host path to escape to, and
//! written out at the end ([`tree`], `materialise`). File contents go to a store by SHA-256 as they are
//! read, so memory holds names only.

mod archive;
mod collect;
mod decompress;
mod image;
mod layer;
mod layer_text;
mod layout;
mod limits;
mod manifest;
mod materialise;
mod obtain;
mod path;
pub(crate) mod reference;
pub mod registry;
mod scratch;
mod store;
mod tar;
mod tree;

pub use archive::Tarball;
pub use collect::Collected;
pub use image::{ImageInfo, ImageReader, LayerInfo};
pub use layout::LayoutFolder;
pub use limits::Limits;
pub use manifest::{ImageConfig, Platform};
pub use reference::Reference;
pub use registry::RegistryImage;
pub use store::{ImageStore, Note, Owner, RootTree, StoreOptions, Unpacked};
