//! Where changes are proposed: the forge trait and the local forge over bare git repositories.
