-- The fourth layout, first part: what the HTTP API keeps of jobs, requests and verifications.

-- Lists that came over the API: whose they are, and what is to become of them. A job without a row here is the command line's.
CREATE TABLE IF NOT EXISTS api_job (
    job     INTEGER NOT NULL PRIMARY KEY,
    tenant  TEXT    NOT NULL,
    name    TEXT,             -- as the caller calls it
    options TEXT    NOT NULL, -- JSON: how it is asked
    wish    TEXT    NOT NULL  -- run, pause, cancel, fail
) STRICT;

CREATE INDEX IF NOT EXISTS api_job_tenant ON api_job (tenant, job);
-- Each question about single addresses is a job too, without a source: they are many, and no list.
CREATE INDEX IF NOT EXISTS job_listed ON job (number) WHERE source <> '';

-- Questions that took longer than their callers waited, and their answers.
CREATE TABLE IF NOT EXISTS verification (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    question   TEXT    NOT NULL, -- JSON: the addresses and how to ask
    created_at INTEGER NOT NULL,
    answer     TEXT              -- JSON as it is sent; NULL while it is not final
) STRICT;

CREATE INDEX IF NOT EXISTS verification_age ON verification (created_at);

-- Requests with an Idempotency-Key. Without a response the first of them is under way, or was cut off with its run.
CREATE TABLE IF NOT EXISTS request (
    tenant     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    run        TEXT    NOT NULL,
    claim      INTEGER NOT NULL, -- who of that run
    created_at INTEGER NOT NULL,
    digest     BLOB,             -- of all that was asked
    status     INTEGER,
    location   TEXT,
    body       BLOB,
    PRIMARY KEY (tenant, key)
) STRICT;

CREATE INDEX IF NOT EXISTS request_age ON request (created_at);

-- What a key has used up of a quota.
CREATE TABLE IF NOT EXISTS spent (
    key  TEXT    NOT NULL,
    what INTEGER NOT NULL, -- 0: all addresses; else the hash of a domain
    at   INTEGER NOT NULL, -- when all of it will be back: nanoseconds since 1970
    PRIMARY KEY (key, what)
) STRICT, WITHOUT ROWID;

-- What happened, for whoever must hear of it even after a crash: written in the transaction in which it happens, whoever writes
-- that, so that neither can be without the other.
CREATE TABLE IF NOT EXISTS happening (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    tenant  TEXT    NOT NULL,
    kind    TEXT    NOT NULL, -- job_started, job_done, job_cancelled, job_failed, verification_done
    subject TEXT    NOT NULL, -- id of the job or verification
    body    TEXT    NOT NULL  -- JSON: a job's counts, a verification's answer
) STRICT;

CREATE TRIGGER IF NOT EXISTS api_job_ends AFTER UPDATE OF state ON job
WHEN NEW.state <> OLD.state AND NEW.state IN ('done', 'cancelled') AND NEW.layout <> '{}'
BEGIN
    INSERT INTO happening (at, tenant, kind, subject, body)
    SELECT NEW.updated_at, tenant, 'job_' || NEW.state, NEW.id, NEW.summary FROM api_job WHERE job = NEW.number;
END;

CREATE TRIGGER IF NOT EXISTS api_job_accepted AFTER INSERT ON api_job
BEGIN
    INSERT INTO happening (at, tenant, kind, subject, body)
    SELECT updated_at, NEW.tenant, 'job_started', id, '{}' FROM job WHERE number = NEW.job;
END;

CREATE TRIGGER IF NOT EXISTS api_job_fails AFTER UPDATE OF wish ON api_job
WHEN NEW.wish = 'fail' AND OLD.wish <> 'fail'
BEGIN
    INSERT INTO happening (at, tenant, kind, subject, body)
    SELECT updated_at, NEW.tenant, 'job_failed', id, summary FROM job WHERE number = NEW.job;
END;

CREATE TRIGGER IF NOT EXISTS verification_ends AFTER UPDATE OF answer ON verification
WHEN OLD.answer IS NULL AND NEW.answer IS NOT NULL
BEGIN
    INSERT INTO happening (at, tenant, kind, subject, body)
    VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), NEW.tenant, 'verification_done', NEW.id, NEW.answer);
END;

CREATE TRIGGER IF NOT EXISTS api_job_gone AFTER DELETE ON job
BEGIN
    DELETE FROM api_job WHERE job = OLD.number;
END;
