"""What a connector reads back from bronze: its own records alone, with what their headers say."""

import json

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from pipelines.io import connector_log
from pipelines.io.connector_log import Sent


def test_its_own_records_are_found_in_bronze_by_their_headers(tmp_path):
    own = {"account": "default", "connector": "orders", "record": "r1", "changed_at_us": "7", "cursor_us": "5"}
    rows = [
        ("raw.orders", 0, 1, own, b"sealed"),
        ("raw.orders", 0, 2, {"connector": "orders", "record": "r2", "deleted": "1"}, b"x"),  # undated, and gone
        ("raw.orders", 0, 3, {"connector": "orders_eu", "record": "r3"}, b"x"),  # another's
        ("raw.orders", 0, 4, {"account": '"connector": "orders"'}, b"x"),  # a sender who writes like us
        ("raw.orders", 0, 5, None, b"x"),  # from the stream
        ("raw.app", 0, 6, own, b"x"),
    ]
    names = ("raw_topic", "raw_partition", "raw_offset", "headers", "payload_ciphertext")
    columns = list(zip(*rows, strict=True))
    columns[3] = [None if headers is None else json.dumps(headers) for headers in columns[3]]
    write_deltalake(tmp_path / "bronze", pa.table(dict(zip(names, map(list, columns), strict=True))))
    found = list(connector_log._in_bronze(DeltaTable(tmp_path / "bronze").to_pyarrow_dataset(), "raw.orders", "orders"))
    assert found == [
        Sent("r1", 7, 5, 0, 1, b"sealed", True),
        Sent("r2", None, None, 0, 2, b"x", True, deleted=True),
    ]
