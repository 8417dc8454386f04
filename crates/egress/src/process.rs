//! The broker as a process of its own: what its parent and it say to each other.
