//! The only room that knows SQL: the Store trait, SQLite, PostgreSQL, migrations, one conformance suite.
