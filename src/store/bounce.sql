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
-- Everybody whom a host did not know, in order of time: waves are found in it without looking at anything else.
CREATE INDEX IF NOT EXISTS event_unknown ON event (at, person, domain, remote_mta)
    WHERE class = 'user_unknown' AND kind = 'bounced' AND transient = 0 AND apart = 0;

-- Times at which a mail host knew so many people less than usual that it may have been at fault.
CREATE TABLE IF NOT EXISTS wave (
    house TEXT    NOT NULL, -- the recipients' domain, or the registrable domain of the host
    began INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    held  INTEGER NOT NULL, -- 0: many at once, and no more than that
    PRIMARY KEY (house, began)
) STRICT, WITHOUT ROWID;

-- How events and suppressions are kept, and how far they were looked at.
CREATE TABLE IF NOT EXISTS bounce_state (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who gets no more mail, from whom and why. A row that ended stays: it is the history.
CREATE TABLE IF NOT EXISTS suppression (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    person      BLOB    NOT NULL, -- as in `event`
    tenant      TEXT    NOT NULL, -- '' for everybody
    list        TEXT    NOT NULL, -- '' for every list
    mailbox     TEXT,             -- NULL where only hashes are kept
    domain      TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    state       TEXT    NOT NULL, -- active, review, ended
    source      TEXT    NOT NULL, -- rule, person, api, file
    note        TEXT,
    rule        TEXT,             -- which rule of the policy decided
    policy      TEXT,             -- of which policy
    events      TEXT,             -- numbers of the events, separated by spaces
    happened_at INTEGER NOT NULL,
    reply       TEXT,             -- what the last event's host said
    again       INTEGER NOT NULL, -- 1: a person had let the recipient go before
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    judged_at   INTEGER,          -- when a person approved it
    judged_note TEXT,
    ended_at    INTEGER,
    ended_by    TEXT,             -- person, api, rule, expiry
    ended_note  TEXT
) STRICT;

CREATE UNIQUE INDEX IF NOT EXISTS suppression_one ON suppression (person, tenant, list, reason) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS suppression_person ON suppression (person);
CREATE INDEX IF NOT EXISTS suppression_end ON suppression (expires_at) WHERE expires_at IS NOT NULL AND ended_at IS NULL;
