"""One process at a time changes the identities: a lock of the server's, held by a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

# Shorter than the 60 s after which a connection gives its answer up (pipelines/io/mariadb.py).
_LOCK, _LOCK_WAIT_S = "kefulake.identity", 45


class IdentityBusy(RuntimeError):
    """Another process is changing the identities; the message says how long was waited."""


@contextmanager
def alone(engine: Engine, *, dry_run: bool = False) -> Iterator[Connection]:
    """A transaction that no other process changes identities beside; `dry_run` takes it back. Raises IdentityBusy."""
    with engine.connect() as connection:
        got = connection.execute(text("SELECT GET_LOCK(:l, :s)"), {"l": _LOCK, "s": _LOCK_WAIT_S}).scalar_one()
        if got != 1:
            raise IdentityBusy(f"Another process has been changing identities for {_LOCK_WAIT_S} s; try again.")
        connection.rollback()  # the lock is the session's, not the transaction's
        try:
            with connection.begin() as transaction:
                yield connection
                if dry_run:
                    transaction.rollback()
        finally:
            connection.execute(text("DO RELEASE_LOCK(:l)"), {"l": _LOCK})
