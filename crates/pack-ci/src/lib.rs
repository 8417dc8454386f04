//! The CI migration pack: readers, the intermediate model of CI, writers, total accounting.
