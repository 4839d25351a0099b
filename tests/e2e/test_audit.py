"""The audit log on a real MariaDB and broker: no fork, no change by who writes it, and all tampering is found."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from infra.stack import mariadb
from infra.stack.settings import AUDIT_DATABASE, DATABASE
from jobs import cli
from jobs.ops.auditing import audit_log, write_down
from pipelines.io import audit_log as log_io
from pipelines.io.mariadb import connect
from pipelines.privacy.audit_chain import verify
from pipelines.privacy.keys import MasterKey

WRITERS, ROWS_EACH = 4, 25
_WRITE = """
from infra.stack.settings import Settings
from jobs.ops.auditing import audit_log
from pipelines.privacy.audit_chain import Act
import time
log = audit_log(Settings.load())
for n in range({rows}):
    log.append(Act(time.time_ns() // 1000, "w{number}", "agent", "consult", f"c_{{n}}"))
"""
_COLUMNS = "acted_at, actor, actor_role, act, act_subject, reason, act_detail, key_version, previous_hash, row_hash"


@pytest.fixture
def root(stack):
    """Who owns the server: may change what nobody else may."""
    engine = connect(mariadb.root_url(stack, AUDIT_DATABASE))
    yield engine
    engine.dispose()


@pytest.fixture
def kept(root):
    """Gives the table back as it was, whatever a test did to it."""
    with root.begin() as connection:
        connection.execute(text("CREATE OR REPLACE TABLE kept AS SELECT * FROM audit_log"))
    yield
    with root.begin() as connection:
        connection.execute(text("DELETE FROM audit_log"))
        connection.execute(text("INSERT INTO audit_log SELECT * FROM kept"))
        connection.execute(text("DROP TABLE kept"))


def found(stack) -> set[int]:
    findings = verify(audit_log(stack).rows(), log_io.witness(stack.bootstrap), MasterKey.load(stack))
    return {finding.audit_seq for finding in findings}


def ensure_rows(stack, count: int) -> int:
    while (have := sum(1 for _ in audit_log(stack).rows())) < count:
        write_down(stack, "consult", f"c_{have}", role="agent")
    return have


def test_many_writers_at_once_make_one_chain_and_every_row_reaches_the_topic(stack):
    before = sum(1 for _ in audit_log(stack).rows())
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITE.format(rows=ROWS_EACH, number=n)]) for n in range(WRITERS)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * WRITERS
    rows = list(audit_log(stack).rows())
    assert [row.audit_seq for row in rows] == list(range(1, before + WRITERS * ROWS_EACH + 1))
    assert {row.actor for row in rows} >= {f"w{n}" for n in range(WRITERS)}
    assert log_io.witness(stack.bootstrap) == {row.audit_seq: row.row_hash for row in rows}
    assert found(stack) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET reason = 'none'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DROP TABLE audit_log",
        "ALTER TABLE audit_log DROP COLUMN reason",
        "REPLACE INTO audit_log SELECT * FROM audit_log LIMIT 1",
        "INSERT INTO audit_log SELECT * FROM audit_log LIMIT 1 ON DUPLICATE KEY UPDATE reason = 'none'",
    ],
)
def test_who_writes_the_audit_log_may_add_and_nothing_else(stack, statement):
    ensure_rows(stack, 2)
    with connect(stack.audit_url).connect() as connection, pytest.raises(DBAPIError) as refused:
        connection.execute(text(statement))
    assert refused.value.orig.args[0] in (1142, 1143)  # command denied to user, on the table or a column


@pytest.mark.parametrize("url", ["database_url", "database_reader_url"])
@pytest.mark.parametrize("statement", ["SELECT * FROM", "DELETE FROM"])
def test_the_other_users_may_not_even_look(stack, url, statement):
    with connect(getattr(stack, url)).connect() as connection, pytest.raises(DBAPIError) as refused:
        connection.execute(text(f"{statement} {AUDIT_DATABASE}.audit_log"))
    assert refused.value.orig.args[0] == 1142


def test_the_auditor_sees_no_customer_data(stack):
    with connect(stack.audit_url).connect() as connection, pytest.raises(DBAPIError) as refused:
        connection.execute(text(f"SELECT * FROM {DATABASE}.stream_offsets"))
    assert refused.value.orig.args[0] in (1142, 1146)


@pytest.mark.parametrize(
    ("name", "statements", "numbers"),
    [
        ("changed", ["UPDATE audit_log SET act_subject = 'c_other' WHERE audit_seq = 3"], {3}),
        ("changed and hashed without the key",
         ["UPDATE audit_log SET actor = 'x', row_hash = SHA2('x', 256) WHERE audit_seq = 3"], {3, 4}),
        ("removed", ["DELETE FROM audit_log WHERE audit_seq IN (2, 5)"], {2, 5}),
        ("the end cut off", ["DELETE FROM audit_log ORDER BY audit_seq DESC LIMIT 2"], "last two"),
        ("all gone", ["DELETE FROM audit_log"], "all"),
        ("inserted", [f"INSERT INTO audit_log SELECT 1 + (SELECT MAX(audit_seq) FROM audit_log), {_COLUMNS} "
                      "FROM audit_log WHERE audit_seq = 2"], "one more"),
        ("swapped", ["UPDATE audit_log SET audit_seq = 0 WHERE audit_seq = 2",
                     "UPDATE audit_log SET audit_seq = 2 WHERE audit_seq = 4",
                     "UPDATE audit_log SET audit_seq = 4 WHERE audit_seq = 0"], {2, 4, 3, 5}),
    ],
)  # fmt: skip
def test_what_root_does_to_the_table_is_found_by_number(stack, root, kept, name, statements, numbers):
    last = ensure_rows(stack, 6)
    special = {"last two": {last - 1, last}, "all": set(range(1, last + 1)), "one more": {last + 1}}
    with root.begin() as connection:
        connection.execute(text("CREATE OR REPLACE TABLE kept AS SELECT * FROM audit_log"))
        for statement in statements:
            connection.execute(text(statement))
    wanted = special[numbers] if isinstance(numbers, str) else numbers
    assert found(stack) >= wanted
    assert found(stack) - wanted <= {min(wanted) + 1, max(wanted) + 1}, name  # at most the row that follows
    result = CliRunner().invoke(cli.build(["audit"]), ["audit", "verify"])
    assert result.exit_code == 1


def test_an_untouched_log_passes_and_says_so(stack):
    ensure_rows(stack, 3)
    result = CliRunner().invoke(cli.build(["audit"]), ["audit", "verify"])
    assert result.exit_code == 0, result.output
    assert "all fit" in result.output


def test_a_refused_look_into_the_vault_is_written_down(stack):
    token = "ph1_" + "0" * 32
    asked = ["vault", "open", token, "--role", "analyst", "--reason", "I am only curious"]
    result = CliRunner().invoke(cli.build(["vault"]), asked)
    assert result.exit_code == 1
    newest = audit_log(stack).newest(1)[0]
    assert (newest.act, newest.act_subject, newest.actor_role, newest.reason) == (
        "refused", token, "analyst", "I am only curious",
    )  # fmt: skip
