"""Bodies that schemathesis does not know to write or to read: lists as text, workbooks as bytes. Keys that are used once."""

import itertools
import re

import schemathesis

LISTS = ["application/x-ndjson", "text/csv", "text/tab-separated-values"]
WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@schemathesis.serializer(*LISTS, WORKBOOK)
def write(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.deserializer(WORKBOOK)
def read(ctx, response):
    return response.content.decode("latin-1")


CALLS = itertools.count()


@schemathesis.hook
def before_call(ctx, case, kwargs):
    # A key that is used again gets the answer of the first time (Idempotency-Replayed), and what that made may be deleted by
    # then: schemathesis takes it for made just now, and misses it.
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,64}", key):
        case.headers["Idempotency-Key"] = f"{key}-{next(CALLS)}"
