"""Bodies that schemathesis does not know to write or to read: lists as text, workbooks as bytes."""

import schemathesis

LISTS = ["application/x-ndjson", "text/csv", "text/tab-separated-values"]
WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@schemathesis.serializer(*LISTS, WORKBOOK)
def write(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.deserializer(WORKBOOK)
def read(ctx, response):
    return response.content.decode("latin-1")
