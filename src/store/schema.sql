-- The first layout. A later one is a file of its own, run after this one; `user_version` says which have run.
CREATE TABLE job (
    number     INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: an old lease cannot fit a new job
    id         TEXT    NOT NULL UNIQUE,
    state      TEXT    NOT NULL,
    created_at INTEGER NOT NULL, -- milliseconds since 1970, as every time here
    updated_at INTEGER NOT NULL,
    source     TEXT    NOT NULL, -- what was read, for people
    settings   TEXT    NOT NULL, -- JSON: whatever changes the answers
    layout     TEXT    NOT NULL, -- JSON: how the input was understood
    digest     BLOB,             -- of the rows; known once they are imported
    rows       INTEGER NOT NULL DEFAULT 0,
    summary    TEXT    NOT NULL DEFAULT '{}', -- JSON: counts so far
    run        TEXT,             -- who works on it
    epoch      INTEGER NOT NULL DEFAULT 0 -- how often it was taken: fences out an owner that lost it
) STRICT;

-- The rows of a list as they were read, many to a block.
CREATE TABLE chunk (
    job    INTEGER NOT NULL,
    number INTEGER NOT NULL,
    rows   BLOB    NOT NULL,
    PRIMARY KEY (job, number)
) STRICT;

-- Records (store/heap.rs) in the order in which they came: the answers of a job and its audit trail.
CREATE TABLE batch (
    job        INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    directory  BLOB    NOT NULL, -- whose records they are and where
    records    BLOB    NOT NULL,
    PRIMARY KEY (job, number)
) STRICT;

-- Where the newest record about an address is; `good` is 1 for an answer that a failed question does not push out.
CREATE TABLE evidence (
    domain     INTEGER NOT NULL, -- SipHash of the name: the addresses of a domain lie together
    address    INTEGER NOT NULL, -- of the mailbox
    good       INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    batch      INTEGER NOT NULL,
    place      INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (domain, address, good)
) STRICT, WITHOUT ROWID;

-- What a domain's host does with unknown recipients, and with which control recipient that was found.
CREATE TABLE mail_domain (
    job        INTEGER NOT NULL, -- 0 once it is concluded: known to every job
    name       TEXT    NOT NULL,
    memory     BLOB    NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;

-- What was spent of a mail-host group's budget, and which run is asking it now.
CREATE TABLE host_group (
    name       TEXT    NOT NULL PRIMARY KEY,
    memory     TEXT    NOT NULL, -- JSON
    run        TEXT,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
