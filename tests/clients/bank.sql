-- A bank small enough to know by heart. Each script changes it as any program would: it knows nothing of the cache.
PRAGMA journal_mode = WAL;

CREATE TABLE account (
    id      INTEGER PRIMARY KEY,
    owner   TEXT NOT NULL,
    balance INTEGER NOT NULL -- minor units
);

CREATE TABLE branch (
    code TEXT PRIMARY KEY NOT NULL,
    city TEXT NOT NULL
);

CREATE TABLE mandate (
    account_id INTEGER NOT NULL REFERENCES account (id),
    person     TEXT NOT NULL,
    role       TEXT NOT NULL,
    PRIMARY KEY (account_id, person)
) WITHOUT ROWID;

INSERT INTO account VALUES (1, 'Ada', 100000), (2, 'Božena', 250), (3, '李雷', -4200), (4, 'Nobody', 0);
INSERT INTO branch VALUES ('PRG', 'Praha'), ('BRQ', 'Brno');
INSERT INTO mandate VALUES (1, 'ada', 'owner'), (1, 'charles', 'reader'), (2, 'bozena', 'owner');
