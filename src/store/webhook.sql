-- The fourth layout, second part: webhooks and what is still to be delivered.

-- Who wants to hear of a job or a verification.
CREATE TABLE IF NOT EXISTS webhook (
    subject    TEXT    NOT NULL, -- its id
    tenant     TEXT    NOT NULL,
    url        TEXT    NOT NULL,
    secret     BLOB,             -- signs what is sent there; NULL: the tenant's own does
    created_at INTEGER NOT NULL,
    PRIMARY KEY (subject, tenant)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS webhook_age ON webhook (created_at);

-- What was not taken yet. Gone once it was.
CREATE TABLE IF NOT EXISTS delivery (
    id       TEXT    NOT NULL PRIMARY KEY, -- of the event, the same at every attempt
    tenant   TEXT    NOT NULL,
    url      TEXT    NOT NULL,
    secret   BLOB,
    kind     TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at   INTEGER  -- not before; NULL: given up
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS delivery_due ON delivery (tenant, due_at);
CREATE INDEX IF NOT EXISTS delivery_next ON delivery (due_at);
CREATE INDEX IF NOT EXISTS delivery_target ON delivery (url, tenant);

CREATE TRIGGER IF NOT EXISTS webhook_due AFTER INSERT ON happening
BEGIN
    INSERT INTO delivery (id, tenant, url, secret, kind, subject, at, body, due_at)
    SELECT 'evt_' || lower(hex(randomblob(16))), tenant, url, secret, NEW.kind, NEW.subject, NEW.at, NEW.body, NEW.at
    FROM webhook WHERE subject = NEW.subject AND tenant = NEW.tenant;
END;

CREATE TRIGGER IF NOT EXISTS webhook_job_gone AFTER DELETE ON job
BEGIN
    DELETE FROM webhook WHERE subject = OLD.id;
    DELETE FROM delivery WHERE subject = OLD.id;
END;
