//! Secrets at rest, by reference, and minted.
