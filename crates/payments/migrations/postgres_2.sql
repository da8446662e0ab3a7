-- Standing orders, and what each came to in each month. Months are numbers: 202611.

CREATE TABLE standing_order (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL REFERENCES tenant,
    person       TEXT NOT NULL REFERENCES person,
    role         TEXT NOT NULL CHECK (role IN ('customer', 'operator', 'officer', 'admin')),
    from_account TEXT NOT NULL REFERENCES account,
    to_account   TEXT NOT NULL REFERENCES account,
    minor        BIGINT NOT NULL CHECK (minor > 0),
    currency     TEXT NOT NULL,
    note         TEXT,
    day          BIGINT NOT NULL CHECK (day BETWEEN 1 AND 31),
    first_month  BIGINT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('active', 'ended')),
    version      BIGINT NOT NULL DEFAULT 1,
    created_ms   BIGINT NOT NULL
);
CREATE INDEX standing_order_active ON standing_order (id) WHERE status = 'active';

-- Once per month and order: the natural key is what a rerun finds.
CREATE TABLE standing_execution (
    standing_order TEXT NOT NULL REFERENCES standing_order,
    month          BIGINT NOT NULL,
    posting        TEXT REFERENCES posting,
    decline_code   TEXT,
    executed_ms    BIGINT NOT NULL,
    PRIMARY KEY (standing_order, month),
    CHECK ((posting IS NULL) <> (decline_code IS NULL))
);
