-- The fourth layout, third part: events of past mailings, and who is suppressed.

-- What happened to one message for one recipient, in the order in which it came in.
CREATE TABLE IF NOT EXISTS event (
    number     INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: what was looked at is known by its number
    person     BLOB    NOT NULL, -- keyed hash of the recipient
    id         BLOB    NOT NULL, -- what makes two reports of the same thing one
    tenant     TEXT    NOT NULL, -- '' for the operator's own
    mailbox    TEXT,             -- NULL where only hashes are kept
    domain     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    class      TEXT,
    transient  INTEGER,
    at         INTEGER NOT NULL, -- by the clock of whoever reported it
    added_at   INTEGER NOT NULL,
    status     TEXT,
    reply      TEXT,
    remote_mta TEXT,
    message_id TEXT,
    list       TEXT,
    origin     TEXT    NOT NULL,
    apart      INTEGER NOT NULL -- 1: about somebody who was never mailed; decides nothing
) STRICT;

CREATE UNIQUE INDEX IF NOT EXISTS event_person ON event (person, id);
CREATE INDEX IF NOT EXISTS event_at ON event (at);

-- How events and suppressions are kept, and how far they were looked at.
CREATE TABLE IF NOT EXISTS bounce_state (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
