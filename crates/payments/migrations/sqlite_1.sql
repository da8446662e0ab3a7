-- Wallets on a double-entry ledger. Times are milliseconds since 1970 by the machine's clock; amounts are whole minor units.

CREATE TABLE tenant (
    id         TEXT NOT NULL PRIMARY KEY,
    -- From this amount on a transfer needs a one-time password; NULL: never.
    otp_from   INTEGER,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE person (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenant,
    name       TEXT NOT NULL,
    email      TEXT NOT NULL,
    version    INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE session (
    id         TEXT NOT NULL PRIMARY KEY,
    digest     TEXT NOT NULL UNIQUE,
    tenant     TEXT NOT NULL REFERENCES tenant,
    person     TEXT NOT NULL REFERENCES person,
    role       TEXT NOT NULL CHECK (role IN ('customer', 'operator', 'officer', 'admin')),
    expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

CREATE TABLE kyc (
    person     TEXT NOT NULL PRIMARY KEY REFERENCES person,
    tenant     TEXT NOT NULL REFERENCES tenant,
    status     TEXT NOT NULL CHECK (status IN ('pending', 'verified', 'rejected')),
    version    INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE fee (
    tenant      TEXT NOT NULL REFERENCES tenant,
    kind        TEXT NOT NULL,
    currency    TEXT NOT NULL,
    fixed_minor INTEGER NOT NULL CHECK (fixed_minor >= 0),
    rate_ppm    INTEGER NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    version     INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, kind, currency)
) STRICT;

CREATE TABLE account (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenant,
    owner      TEXT REFERENCES person,
    kind       TEXT NOT NULL CHECK (kind IN ('wallet', 'clearing', 'fees', 'outside')),
    currency   TEXT NOT NULL,
    -- Of a wallet alone: the tenant's own accounts are the sums of their entries, so that no row is wanted by everybody.
    balance    INTEGER NOT NULL DEFAULT 0,
    held       INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    overdraft  INTEGER NOT NULL DEFAULT 0 CHECK (overdraft >= 0),
    status     TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'frozen', 'closed')),
    version    INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL,
    -- The last line of defence: no program, this one included, spends what is not there.
    CHECK (balance - held + overdraft >= 0 OR kind <> 'wallet')
) STRICT;

CREATE TABLE posting (
    id         TEXT NOT NULL PRIMARY KEY,
    tenant     TEXT NOT NULL REFERENCES tenant,
    kind       TEXT NOT NULL,
    reference  TEXT NOT NULL,
    posted_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE entry (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    posting       TEXT NOT NULL REFERENCES posting,
    account       TEXT NOT NULL REFERENCES account,
    currency      TEXT NOT NULL,
    minor         INTEGER NOT NULL CHECK (minor <> 0),
    -- Of a wallet alone.
    balance_after INTEGER,
    UNIQUE (posting, account)
) STRICT;
CREATE INDEX entry_of_account ON entry (account, id);

CREATE TABLE transfer (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL REFERENCES tenant,
    from_account TEXT NOT NULL REFERENCES account,
    to_account   TEXT NOT NULL REFERENCES account,
    minor        INTEGER NOT NULL CHECK (minor > 0),
    currency     TEXT NOT NULL,
    note         TEXT,
    created_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE payment (
    id             TEXT NOT NULL PRIMARY KEY,
    tenant         TEXT NOT NULL REFERENCES tenant,
    account        TEXT NOT NULL REFERENCES account,
    minor          INTEGER NOT NULL CHECK (minor > 0),
    fee_minor      INTEGER NOT NULL CHECK (fee_minor >= 0 AND fee_minor < minor),
    currency       TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('intent', 'charged', 'declined')),
    decline_code   TEXT,
    refunded_minor INTEGER NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0 AND refunded_minor <= minor),
    key_id         INTEGER NOT NULL,
    version        INTEGER NOT NULL DEFAULT 1,
    created_ms     INTEGER NOT NULL
) STRICT;

CREATE TABLE refund (
    id           TEXT NOT NULL PRIMARY KEY,
    payment      TEXT NOT NULL REFERENCES payment,
    tenant       TEXT NOT NULL REFERENCES tenant,
    account      TEXT NOT NULL REFERENCES account,
    minor        INTEGER NOT NULL CHECK (minor > 0),
    currency     TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('intent', 'refunded', 'declined')),
    decline_code TEXT,
    key_id       INTEGER NOT NULL,
    version      INTEGER NOT NULL DEFAULT 1,
    created_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX refund_of_payment ON refund (payment);

-- What is promised to an operation whose outcome is not known.
CREATE TABLE hold (
    id         TEXT NOT NULL PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES account,
    minor      INTEGER NOT NULL CHECK (minor > 0),
    currency   TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('active', 'posted', 'voided')),
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX hold_active ON hold (account) WHERE state = 'active';

CREATE TABLE challenge (
    id            TEXT NOT NULL PRIMARY KEY,
    tenant        TEXT NOT NULL REFERENCES tenant,
    person        TEXT NOT NULL REFERENCES person,
    code_hash     BLOB NOT NULL,
    attempts_left INTEGER NOT NULL CHECK (attempts_left >= 0),
    expires_ms    INTEGER NOT NULL,
    used_ms       INTEGER
) STRICT;

-- What people are told: the effect of a message of the outbox, once.
CREATE TABLE notice (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    business_id TEXT NOT NULL UNIQUE,
    topic       TEXT NOT NULL,
    aggregate   TEXT NOT NULL,
    payload     BLOB NOT NULL,
    created_ms  INTEGER NOT NULL
) STRICT;
