-- Everything that must survive a crash. Times are milliseconds since 1970 by the clock of the machine.

CREATE TABLE once_keys (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    principal        TEXT NOT NULL,
    idempotency_key  TEXT NOT NULL,
    fingerprint      BLOB NOT NULL,
    recovery_point   TEXT NOT NULL,
    fence            INTEGER NOT NULL,
    lease_until_ms   INTEGER NOT NULL,
    attempts         INTEGER NOT NULL,
    location         TEXT,
    asynchronous     INTEGER NOT NULL,
    recovery_data    BLOB,
    review_reason    TEXT,
    response_status  INTEGER,
    response_headers BLOB,
    response_body    BLOB,
    created_ms       INTEGER NOT NULL,
    finished_ms      INTEGER,
    UNIQUE (principal, idempotency_key),
    CHECK ((finished_ms IS NOT NULL) = (recovery_point = 'FINISHED')),
    CHECK (finished_ms IS NULL OR response_status IS NOT NULL)
) STRICT;
CREATE INDEX once_keys_due ON once_keys (lease_until_ms) WHERE finished_ms IS NULL;
CREATE INDEX once_keys_finished ON once_keys (finished_ms) WHERE finished_ms IS NOT NULL;

-- Rows of this table are never deleted: a key may expire, what it did may not be done again.
CREATE TABLE once_business_ids (
    namespace   TEXT NOT NULL,
    business_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    reference   TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    PRIMARY KEY (namespace, business_id)
) STRICT;

CREATE TABLE once_outbox_aggregates (
    aggregate     TEXT NOT NULL PRIMARY KEY,
    last_sequence INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    retry_at_ms   INTEGER NOT NULL
) STRICT;
CREATE TABLE once_outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    aggregate    TEXT NOT NULL REFERENCES once_outbox_aggregates,
    sequence     INTEGER NOT NULL,
    topic        TEXT NOT NULL,
    business_id  TEXT NOT NULL,
    payload      BLOB NOT NULL,
    created_ms   INTEGER NOT NULL,
    published_ms INTEGER,
    UNIQUE (aggregate, sequence)
) STRICT;
CREATE INDEX once_outbox_waiting ON once_outbox (id) WHERE published_ms IS NULL;
CREATE INDEX once_outbox_published ON once_outbox (published_ms) WHERE published_ms IS NOT NULL;

CREATE TABLE once_inbox (
    consumer    TEXT NOT NULL,
    business_id TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (consumer, business_id)
) STRICT;
CREATE TABLE once_inbox_versions (
    consumer TEXT NOT NULL,
    entity   TEXT NOT NULL,
    version  INTEGER NOT NULL,
    PRIMARY KEY (consumer, entity)
) STRICT;

-- Rows of this table are never deleted: a fence may not start anew.
CREATE TABLE once_leases (
    name       TEXT NOT NULL PRIMARY KEY,
    owner      TEXT NOT NULL,
    fence      INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE once_job_runs (
    job           TEXT NOT NULL,
    business_date TEXT NOT NULL,
    fence         INTEGER NOT NULL,
    checkpoint    TEXT,
    chunks        INTEGER NOT NULL,
    started_ms    INTEGER NOT NULL,
    finished_ms   INTEGER,
    PRIMARY KEY (job, business_date)
) STRICT;
CREATE TABLE once_job_items (
    job           TEXT NOT NULL,
    business_date TEXT NOT NULL,
    item          TEXT NOT NULL,
    answer        BLOB NOT NULL,
    answered_ms   INTEGER NOT NULL,
    PRIMARY KEY (job, business_date, item),
    FOREIGN KEY (job, business_date) REFERENCES once_job_runs
) STRICT;

CREATE TABLE once_script_runs (
    name         TEXT NOT NULL PRIMARY KEY,
    content_hash BLOB NOT NULL,
    ran_ms       INTEGER NOT NULL
) STRICT;
