-- Wallets on a double-entry ledger. Times are milliseconds since 1970 by the server's clock; amounts are whole minor units.

CREATE TABLE tenant (
    id         TEXT NOT NULL PRIMARY KEY,
    -- From this amount on a transfer needs a one-time password; NULL: never.
    otp_from   BIGINT,
    created_ms BIGINT NOT NULL
);

CREATE TABLE person (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenant,
    name       TEXT NOT NULL,
    email      TEXT NOT NULL,
    version    BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE session (
    id         TEXT NOT NULL PRIMARY KEY,
    digest     TEXT NOT NULL UNIQUE,
    tenant     TEXT NOT NULL REFERENCES tenant,
    person     TEXT NOT NULL REFERENCES person,
    role       TEXT NOT NULL CHECK (role IN ('customer', 'operator', 'officer', 'admin')),
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);

CREATE TABLE kyc (
    person     TEXT NOT NULL PRIMARY KEY REFERENCES person,
    tenant     TEXT NOT NULL REFERENCES tenant,
    status     TEXT NOT NULL CHECK (status IN ('pending', 'verified', 'rejected')),
    version    BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE fee (
    tenant      TEXT NOT NULL REFERENCES tenant,
    kind        TEXT NOT NULL,
    currency    TEXT NOT NULL,
    fixed_minor BIGINT NOT NULL CHECK (fixed_minor >= 0),
    rate_ppm    BIGINT NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    version     BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, kind, currency)
);

CREATE TABLE account (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenant,
    owner      TEXT REFERENCES person,
    kind       TEXT NOT NULL CHECK (kind IN ('wallet', 'clearing', 'fees', 'outside')),
    currency   TEXT NOT NULL,
    -- Of a wallet alone: the tenant's own accounts are the sums of their entries, so that no row is wanted by everybody.
    balance    BIGINT NOT NULL DEFAULT 0,
    held       BIGINT NOT NULL DEFAULT 0 CHECK (held >= 0),
    overdraft  BIGINT NOT NULL DEFAULT 0 CHECK (overdraft >= 0),
    status     TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'frozen', 'closed')),
    version    BIGINT NOT NULL DEFAULT 1,
    created_ms BIGINT NOT NULL,
    -- The last line of defence: no program, this one included, spends what is not there.
    CHECK (balance - held + overdraft >= 0 OR kind <> 'wallet')
);

CREATE TABLE posting (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenant,
    kind       TEXT NOT NULL,
    reference  TEXT NOT NULL,
    posted_ms  BIGINT NOT NULL
);

CREATE TABLE entry (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    posting       TEXT NOT NULL REFERENCES posting,
    account       TEXT NOT NULL REFERENCES account,
    currency      TEXT NOT NULL,
    minor         BIGINT NOT NULL CHECK (minor <> 0),
    -- Of a wallet alone.
    balance_after BIGINT,
    UNIQUE (posting, account)
);
CREATE INDEX entry_of_account ON entry (account, id);

CREATE TABLE transfer (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL REFERENCES tenant,
    from_account TEXT NOT NULL REFERENCES account,
    to_account   TEXT NOT NULL REFERENCES account,
    minor        BIGINT NOT NULL CHECK (minor > 0),
    currency     TEXT NOT NULL,
    note         TEXT,
    created_ms   BIGINT NOT NULL
);

CREATE TABLE payment (
    id             TEXT NOT NULL PRIMARY KEY,
    tenant         TEXT NOT NULL REFERENCES tenant,
    account        TEXT NOT NULL REFERENCES account,
    minor          BIGINT NOT NULL CHECK (minor > 0),
    fee_minor      BIGINT NOT NULL CHECK (fee_minor >= 0 AND fee_minor < minor),
    currency       TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('intent', 'charged', 'declined')),
    decline_code   TEXT,
    refunded_minor BIGINT NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0 AND refunded_minor <= minor),
    key_id         BIGINT NOT NULL,
    version        BIGINT NOT NULL DEFAULT 1,
    created_ms     BIGINT NOT NULL
);

CREATE TABLE refund (
    id           TEXT NOT NULL PRIMARY KEY,
    payment      TEXT NOT NULL REFERENCES payment,
    tenant       TEXT NOT NULL REFERENCES tenant,
    account      TEXT NOT NULL REFERENCES account,
    minor        BIGINT NOT NULL CHECK (minor > 0),
    currency     TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('intent', 'refunded', 'declined')),
    decline_code TEXT,
    key_id       BIGINT NOT NULL,
    version      BIGINT NOT NULL DEFAULT 1,
    created_ms   BIGINT NOT NULL
);
CREATE INDEX refund_of_payment ON refund (payment);

-- What is promised to an operation whose outcome is not known.
CREATE TABLE hold (
    id         TEXT NOT NULL PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES account,
    minor      BIGINT NOT NULL CHECK (minor > 0),
    currency   TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('active', 'posted', 'voided')),
    created_ms BIGINT NOT NULL
);
CREATE INDEX hold_active ON hold (account) WHERE state = 'active';

CREATE TABLE challenge (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant        TEXT NOT NULL REFERENCES tenant,
    person        TEXT NOT NULL REFERENCES person,
    code_hash     BYTEA NOT NULL,
    attempts_left BIGINT NOT NULL CHECK (attempts_left >= 0),
    expires_ms    BIGINT NOT NULL,
    used_ms       BIGINT
);

-- What people are told: the effect of a message of the outbox, once.
CREATE TABLE notice (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    business_id TEXT NOT NULL UNIQUE,
    topic       TEXT NOT NULL,
    aggregate   TEXT NOT NULL,
    payload     BYTEA NOT NULL,
    created_ms  BIGINT NOT NULL
);
