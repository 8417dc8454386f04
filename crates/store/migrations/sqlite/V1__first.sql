-- Times are nanoseconds since 1970 (UTC); ids are their text form; bodies are JSON text.
-- Every table that grows is a plain rowid table with separate unique indexes: a clustered text
-- key would spread big rows over the whole tree and cost three times as much per append.

-- Facts of all streams, in the order they were appended.
CREATE TABLE facts (
    n INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    fact TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX facts_by_stream ON facts (stream, seq);

-- Newest state of each stream: big, and therefore not in the tables that lists scan.
CREATE TABLE states (
    n INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX states_by_stream ON states (stream);

CREATE TABLE tasks (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    run TEXT NOT NULL,
    campaign TEXT NOT NULL,
    automation TEXT NOT NULL,
    repository TEXT NOT NULL,
    path TEXT NOT NULL,
    key TEXT NOT NULL,
    wave INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- What follows changes; what stands above never does.
    status TEXT NOT NULL,
    wait TEXT,
    settled INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    inbox INTEGER NOT NULL,
    next_step INTEGER NOT NULL,
    round INTEGER NOT NULL,
    reason TEXT,
    sentence TEXT,
    change INTEGER,
    diff_class TEXT,
    updated_at INTEGER NOT NULL,
    spent_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    lease_until INTEGER
) STRICT;
CREATE UNIQUE INDEX tasks_by_id ON tasks (id);
-- The queue. Its condition is repeated word for word by the claim, or it is not used.
CREATE INDEX tasks_queue ON tasks (campaign, wave, created_at, id)
    WHERE status = 'queued' AND paused = 0 AND owner IS NULL;
CREATE INDEX tasks_leased ON tasks (campaign) WHERE owner IS NOT NULL;
CREATE INDEX tasks_open ON tasks (campaign)
    WHERE status IN ('ready', 'submitted', 'in_review') AND owner IS NULL;
-- Counts of a campaign are read from this index alone.
CREATE INDEX tasks_by_campaign ON tasks (campaign, status, wait, wave, settled, change, spent_ms);
CREATE INDEX tasks_by_campaign_update ON tasks (campaign, updated_at);
CREATE INDEX tasks_by_update ON tasks (updated_at);
CREATE INDEX tasks_by_status ON tasks (status, wait, updated_at);
CREATE INDEX tasks_by_target ON tasks (campaign, wave, repository, path, key);
CREATE INDEX tasks_by_run ON tasks (run);
CREATE INDEX tasks_by_change ON tasks (repository, change);
CREATE INDEX tasks_by_class ON tasks (campaign, diff_class, status) WHERE diff_class IS NOT NULL;
CREATE INDEX tasks_inbox ON tasks (updated_at) WHERE inbox = 1;

CREATE TABLE campaigns (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    automation TEXT NOT NULL,
    status TEXT NOT NULL,
    admitted_wave INTEGER NOT NULL,
    targets INTEGER NOT NULL,
    max_running INTEGER,
    max_open INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX campaigns_by_id ON campaigns (id);
CREATE INDEX campaigns_by_automation ON campaigns (automation);
CREATE INDEX campaigns_active ON campaigns (id) WHERE status = 'active';

CREATE TABLE runs (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    automation TEXT NOT NULL,
    event TEXT NOT NULL,
    status TEXT NOT NULL,
    campaign TEXT,
    tasks INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX runs_by_id ON runs (id);
CREATE INDEX runs_by_automation ON runs (automation);

CREATE TABLE events (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    repository TEXT,
    received_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE INDEX events_by_type ON events (type);
CREATE INDEX events_by_repository ON events (repository) WHERE repository IS NOT NULL;

-- Effects not yet done; a done one is deleted.
CREATE TABLE outbox (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    lane TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    effect TEXT NOT NULL,
    owner TEXT,
    lease_until INTEGER
) STRICT;
CREATE UNIQUE INDEX outbox_by_id ON outbox (id);
CREATE INDEX outbox_by_due ON outbox (due_at);
CREATE INDEX outbox_by_lane ON outbox (lane);
CREATE INDEX outbox_leased ON outbox (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE documents (
    n INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX documents_by_key ON documents (kind, key);

-- Leaves without an index, in the order they were committed.
CREATE TABLE ledger_pending (
    n INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL
) STRICT;

CREATE TABLE ledger_entries (
    idx INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- One row: where the ledger stands.
CREATE TABLE ledger_state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    checkpoint TEXT
) STRICT;
INSERT INTO ledger_state (one, size, frontier, checkpoint) VALUES (1, 0, x'', NULL);

CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;
