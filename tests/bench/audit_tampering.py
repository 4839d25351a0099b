"""What who owns the database can do to the audit log, and whether `verify` names the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Engine, text

from infra.stack import mariadb
from infra.stack.settings import AUDIT_DATABASE, Settings
from jobs.ops.auditing import audit_log, write_down
from pipelines.io import audit_log as log_io
from pipelines.io.mariadb import connect
from pipelines.privacy.audit_chain import verify
from pipelines.privacy.keys import MasterKey

_COLUMNS = "acted_at, actor, actor_role, act, act_subject, reason, act_detail, key_version, previous_hash, row_hash"


class Tampering(NamedTuple):
    """``statements`` as root; ``numbers`` of the rows they touch, or a word for those that hang on the log's length."""

    name: str
    statements: tuple[str, ...]
    numbers: frozenset[int] | str

    def rows(self, last: int) -> set[int]:
        """The numbers, where ``last`` is the log's last."""
        words = {"last two": {last - 1, last}, "all": set(range(1, last + 1)), "one more": {last + 1}}
        return words[self.numbers] if isinstance(self.numbers, str) else set(self.numbers)


TAMPERINGS = (
    Tampering("changed", ("UPDATE audit_log SET act_subject = 'c_other' WHERE audit_seq = 3",), frozenset({3})),
    Tampering("changed and hashed without the key",
              ("UPDATE audit_log SET actor = 'x', row_hash = SHA2('x', 256) WHERE audit_seq = 3",), frozenset({3, 4})),
    Tampering("removed", ("DELETE FROM audit_log WHERE audit_seq IN (2, 5)",), frozenset({2, 5})),
    Tampering("the end cut off", ("DELETE FROM audit_log ORDER BY audit_seq DESC LIMIT 2",), "last two"),
    Tampering("all gone", ("DELETE FROM audit_log",), "all"),
    Tampering("inserted", (f"INSERT INTO audit_log SELECT 1 + (SELECT MAX(audit_seq) FROM audit_log), {_COLUMNS} "
                           "FROM audit_log WHERE audit_seq = 2",), "one more"),
    Tampering("swapped", ("UPDATE audit_log SET audit_seq = 0 WHERE audit_seq = 2",
                          "UPDATE audit_log SET audit_seq = 2 WHERE audit_seq = 4",
                          "UPDATE audit_log SET audit_seq = 4 WHERE audit_seq = 0"), frozenset({2, 4, 3, 5})),
)  # fmt: skip


def ensure_rows(settings: Settings, count: int) -> int:
    """At least so many rows; gives how many there are."""
    while (have := sum(1 for _ in audit_log(settings).rows())) < count:
        write_down(settings, "consult", f"c_{have}", role="agent")
    return have


def found(settings: Settings) -> set[int]:
    """Numbers of the rows that do not fit."""
    findings = verify(audit_log(settings).rows(), log_io.witness(settings.bootstrap), MasterKey.load(settings))
    return {finding.audit_seq for finding in findings}


@contextmanager
def kept(root: Engine) -> Iterator[None]:
    """Gives the log back as it was, whatever is done to it."""
    with root.begin() as connection:
        connection.execute(text("CREATE OR REPLACE TABLE kept AS SELECT * FROM audit_log"))
    try:
        yield
    finally:
        with root.begin() as connection:
            connection.execute(text("DELETE FROM audit_log"))
            connection.execute(text("INSERT INTO audit_log SELECT * FROM kept"))
            connection.execute(text("DROP TABLE kept"))


def tamper(root: Engine, tampering: Tampering) -> None:
    """Do it."""
    with root.begin() as connection:
        for statement in tampering.statements:
            connection.execute(text(statement))


def planted_and_found(settings: Settings) -> dict[str, int]:
    """Rows tampered with in every way of TAMPERINGS, and how many of them were named; the log is sound afterwards."""
    counts = {"audit_planted": 0, "audit_found": 0}
    root = connect(mariadb.root_url(settings, AUDIT_DATABASE))
    try:
        for tampering in TAMPERINGS:
            wanted = tampering.rows(ensure_rows(settings, 6))
            with kept(root):
                tamper(root, tampering)
                named = found(settings)
            counts["audit_planted"] += len(wanted)
            counts["audit_found"] += len(wanted & named)
    finally:
        root.dispose()
    return counts
