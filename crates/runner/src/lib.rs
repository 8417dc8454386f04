//! Takes leased steps and carries them out.

pub mod control_plane;

pub use control_plane::{ControlPlane, ControlPlaneError};
