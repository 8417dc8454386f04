//! Checks over the tables, in SQL that both databases understand.

/// A query that returns one text per problem, at most twenty.
pub(crate) struct Check {
    /// What each row means.
    pub(crate) problem: &'static str,
    /// The query.
    pub(crate) sql: &'static str,
}

/// All of them.
pub(crate) const CHECKS: &[Check] = &[
    Check {
        problem: "facts are missing or too many",
        sql: "SELECT s.stream FROM states s
              LEFT JOIN (SELECT stream, count(*) AS have, min(seq) AS low, max(seq) AS high FROM facts GROUP BY stream) f
                  ON f.stream = s.stream
              WHERE f.have IS NULL OR f.have <> s.seq OR f.low <> 1 OR f.high <> s.seq LIMIT 20",
    },
    Check {
        problem: "facts of a stream without state",
        sql: "SELECT DISTINCT stream FROM facts WHERE stream NOT IN (SELECT stream FROM states) LIMIT 20",
    },
    Check {
        problem: "a state without its row",
        sql: "SELECT stream FROM states s WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE id = s.stream)
              AND NOT EXISTS (SELECT 1 FROM campaigns WHERE id = s.stream)
              AND NOT EXISTS (SELECT 1 FROM runs WHERE id = s.stream) LIMIT 20",
    },
    Check {
        problem: "a row without its state",
        sql: "SELECT id FROM (SELECT id FROM tasks UNION ALL SELECT id FROM campaigns UNION ALL SELECT id FROM runs) r
              WHERE NOT EXISTS (SELECT 1 FROM states WHERE stream = r.id) LIMIT 20",
    },
    Check {
        problem: "a lease without owner or end",
        sql: "SELECT id FROM tasks WHERE (owner IS NULL) <> (lease_until IS NULL) LIMIT 20",
    },
    Check {
        problem: "ledger entries do not match the ledger's size",
        sql: "SELECT 'size ' || size FROM ledger_state
              WHERE size <> (SELECT count(*) FROM ledger_entries)
                 OR size <> (SELECT coalesce(max(idx), -1) + 1 FROM ledger_entries)",
    },
    Check {
        problem: "a checkpoint beyond the end of the ledger",
        sql: "SELECT 'size ' || size FROM checkpoints WHERE size > (SELECT size FROM ledger_state) LIMIT 20",
    },
];
