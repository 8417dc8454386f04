//! Makes and destroys environments. The only room with unsafe code.
