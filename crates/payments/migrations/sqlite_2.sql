-- Standing orders, and what each came to in each month. Months are numbers: 202611.

CREATE TABLE standing_order (
    id           TEXT NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL REFERENCES tenant,
    person       TEXT NOT NULL REFERENCES person,
    role         TEXT NOT NULL CHECK (role IN ('customer', 'operator', 'officer', 'admin')),
    from_account TEXT NOT NULL REFERENCES account,
    to_account   TEXT NOT NULL REFERENCES account,
    minor        INTEGER NOT NULL CHECK (minor > 0),
    currency     TEXT NOT NULL,
    note         TEXT,
    day          INTEGER NOT NULL CHECK (day BETWEEN 1 AND 31),
    first_month  INTEGER NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('active', 'ended')),
    version      INTEGER NOT NULL DEFAULT 1,
    created_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX standing_order_active ON standing_order (id) WHERE status = 'active';

-- Once per month and order: the natural key is what a rerun finds.
CREATE TABLE standing_execution (
    standing_order TEXT NOT NULL REFERENCES standing_order,
    month          INTEGER NOT NULL,
    posting        TEXT REFERENCES posting,
    decline_code   TEXT,
    executed_ms    INTEGER NOT NULL,
    PRIMARY KEY (standing_order, month),
    CHECK ((posting IS NULL) <> (decline_code IS NULL))
) STRICT;
