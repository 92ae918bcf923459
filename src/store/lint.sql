-- The fourth layout, last part: what `presend lint` found out about domains, so that a pipeline need not ask again.
CREATE TABLE IF NOT EXISTS domain_answer (
    domain     TEXT    NOT NULL PRIMARY KEY,
    reason     TEXT    NOT NULL, -- the name of a reason
    checked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
