-- Everything that must survive a crash, so every table is logged. Times are milliseconds since 1970 by the database's clock.

CREATE TABLE once_keys (
    id               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    principal        TEXT NOT NULL,
    idempotency_key  TEXT NOT NULL,
    fingerprint      BYTEA NOT NULL,
    recovery_point   TEXT NOT NULL,
    fence            BIGINT NOT NULL,
    lease_until_ms   BIGINT NOT NULL,
    attempts         BIGINT NOT NULL,
    location         TEXT,
    asynchronous     BOOLEAN NOT NULL,
    recovery_data    BYTEA,
    review_reason    TEXT,
    response_status  BIGINT,
    response_headers BYTEA,
    response_body    BYTEA,
    created_ms       BIGINT NOT NULL,
    finished_ms      BIGINT,
    UNIQUE (principal, idempotency_key),
    CHECK ((finished_ms IS NOT NULL) = (recovery_point = 'FINISHED')),
    CHECK (finished_ms IS NULL OR response_status IS NOT NULL)
);
CREATE INDEX once_keys_due ON once_keys (lease_until_ms) WHERE finished_ms IS NULL;
CREATE INDEX once_keys_finished ON once_keys (finished_ms) WHERE finished_ms IS NOT NULL;

-- Rows of this table are never deleted: a key may expire, what it did may not be done again.
CREATE TABLE once_business_ids (
    namespace   TEXT NOT NULL,
    business_id TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    reference   TEXT NOT NULL,
    created_ms  BIGINT NOT NULL,
    PRIMARY KEY (namespace, business_id)
);

CREATE TABLE once_outbox_aggregates (
    aggregate     TEXT PRIMARY KEY,
    last_sequence BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    retry_at_ms   BIGINT NOT NULL
);
CREATE TABLE once_outbox (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    aggregate    TEXT NOT NULL REFERENCES once_outbox_aggregates,
    sequence     BIGINT NOT NULL,
    topic        TEXT NOT NULL,
    business_id  TEXT NOT NULL,
    payload      BYTEA NOT NULL,
    created_ms   BIGINT NOT NULL,
    published_ms BIGINT,
    UNIQUE (aggregate, sequence)
);
CREATE INDEX once_outbox_waiting ON once_outbox (id) WHERE published_ms IS NULL;
CREATE INDEX once_outbox_published ON once_outbox (published_ms) WHERE published_ms IS NOT NULL;

CREATE TABLE once_inbox (
    consumer    TEXT NOT NULL,
    business_id TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (consumer, business_id)
);
CREATE TABLE once_inbox_versions (
    consumer TEXT NOT NULL,
    entity   TEXT NOT NULL,
    version  BIGINT NOT NULL,
    PRIMARY KEY (consumer, entity)
);

-- Rows of this table are never deleted: a fence may not start anew.
CREATE TABLE once_leases (
    name       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    fence      BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE once_job_runs (
    job           TEXT NOT NULL,
    business_date TEXT NOT NULL,
    fence         BIGINT NOT NULL,
    checkpoint    TEXT,
    chunks        BIGINT NOT NULL,
    started_ms    BIGINT NOT NULL,
    finished_ms   BIGINT,
    PRIMARY KEY (job, business_date)
);
CREATE TABLE once_job_items (
    job           TEXT NOT NULL,
    business_date TEXT NOT NULL,
    item          TEXT NOT NULL,
    answer        BYTEA NOT NULL,
    answered_ms   BIGINT NOT NULL,
    PRIMARY KEY (job, business_date, item),
    FOREIGN KEY (job, business_date) REFERENCES once_job_runs
);

CREATE TABLE once_script_runs (
    name         TEXT PRIMARY KEY,
    content_hash BYTEA NOT NULL,
    ran_ms       BIGINT NOT NULL
);
