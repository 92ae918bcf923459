-- The third layout: what others may use of a batch in one row for each domain, which is written at the end of the table and
-- not all over it. `evidence` had a row for each address; store/evidence.rs takes its rows over and drops it.
CREATE TABLE pointer (
    number  INTEGER PRIMARY KEY,
    domain  INTEGER NOT NULL, -- SipHash of the name
    job     INTEGER NOT NULL,
    batch   INTEGER NOT NULL,
    entries BLOB    NOT NULL -- whose records they are, where, and how long they serve
) STRICT;

CREATE INDEX pointer_domain ON pointer (domain);
