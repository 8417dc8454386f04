-- What was spent and what is held, by account; bodies are JSON text.
CREATE TABLE budget_accounts (
    n INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX budget_accounts_by_scope ON budget_accounts (scope);

-- What is held, and by whom.
CREATE TABLE budget_reservations (
    n INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    holder TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX budget_reservations_by_id ON budget_reservations (id);
CREATE INDEX budget_reservations_by_holder ON budget_reservations (holder);

-- Processes that hold something, until when, by the clock of the database.
CREATE TABLE budget_holders (
    n INTEGER PRIMARY KEY,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX budget_holders_by_holder ON budget_holders (holder);
