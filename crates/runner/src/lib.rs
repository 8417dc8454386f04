//! Takes leased steps and carries them out.
