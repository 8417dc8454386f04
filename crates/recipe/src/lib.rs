//! What an environment is made from.
//!
//! - [`Recipe`]: root, set-up, services, caches; checked by [`Recipe::validate`], named by
//!   [`Recipe::digest`]. Same digest, same environment.
//! - [`oci`]: images, from a layout folder, a tarball or a registry, unpacked into an [`oci::ImageStore`].
//! - [`folder`]: a name for everything in a folder.
//! - [`devcontainer`]: `devcontainer.json` read as a recipe.
//! - [`toolchain`]: which versions a repository asks for, and whether the environment has them.
//! - [`Cache`]: folders for what package managers download.
//!
//! Nearly all bytes here come from outside. This crate needs no privilege, executes nothing, follows
//! no symbolic link on the host, and knows no other room: who makes environments gets folders.

mod cache;
pub mod devcontainer;
mod digest;
mod error;
mod files;
pub mod folder;
pub mod oci;
mod recipe;
pub mod toolchain;

pub use cache::{Cache, Ecosystem};
pub use digest::{Digest, InvalidDigest};
pub use error::{Error, LayerProblem};
pub use files::{SetupFiles, lay_out, setup_files};
pub use recipe::{
    Command, HostRoot, Image, ImageSource, Ready, Recipe, ResolvedRoot, Root, Service, SetupStep,
};
