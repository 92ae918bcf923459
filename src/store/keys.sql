-- Keys of the API. What a caller shows is not here, only its hash.
CREATE TABLE IF NOT EXISTS api_key (
    id         TEXT    NOT NULL PRIMARY KEY, -- the part of the key that is no secret
    name       TEXT    NOT NULL,
    tenant     TEXT    NOT NULL, -- keys of one tenant see the same things
    hash       BLOB    NOT NULL, -- SHA-256 of the secret, which is random
    scopes     TEXT    NOT NULL,
    rate       TEXT,
    quota      TEXT,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- What nobody else may know: the salt of hashes in the log.
CREATE TABLE IF NOT EXISTS secret (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
