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
from jobs.ops.auditing import audit_log
from pipelines.io import audit_log as log_io
from pipelines.io.mariadb import connect
from tests.bench.audit_tampering import TAMPERINGS, ensure_rows, found, kept, tamper

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


@pytest.fixture
def root(stack):
    """Who owns the server: may change what nobody else may."""
    engine = connect(mariadb.root_url(stack, AUDIT_DATABASE))
    yield engine
    engine.dispose()


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


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda one: one.name)
def test_what_root_does_to_the_table_is_found_by_number(stack, root, tampering):
    wanted = tampering.rows(ensure_rows(stack, 6))
    with kept(root):
        tamper(root, tampering)
        assert found(stack) >= wanted
        assert found(stack) - wanted <= {min(wanted) + 1, max(wanted) + 1}  # at most the row that follows
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
