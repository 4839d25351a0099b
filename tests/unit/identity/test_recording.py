"""What is recorded of a change comes after what was recorded before."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from pipelines.io import identity_rows as rows


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["t1"], 501),  # another process waited less for the lock and recorded this identifier at 500
        (["t2"], 300),  # recorded long ago: the change's own instant
        (["t9"], 300),  # never recorded
        (["t2", "t1"], 501),  # one change, one instant
        ([], 300),
    ],
)
def test_a_change_is_recorded_after_what_it_replaces(tokens, expected):
    """Readers take the newest recording of an identifier; a clock read before the wait for the lock says less."""
    with create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("CREATE TABLE identity_current_links (token, recorded_at)")
        for token, at_us in (("t1", 500), ("t2", 200)):
            connection.exec_driver_sql(
                "INSERT INTO identity_current_links VALUES (?, ?)", (token, f"{rows.instant(at_us)}")
            )
        assert rows.after_what_is_told(connection, tokens, 300) == expected
