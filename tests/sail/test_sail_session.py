"""What a session on Sail leaves behind: nothing. And what its errors say."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from pyspark.errors import PySparkException

from infra.stack.settings import Settings
from jobs.spark import sail
from jobs.spark.session import is_small

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """One of this module's own, used and closed; the folder has what an address would have to encode."""
    settings = Settings.load(home=tmp_path_factory.mktemp("客服 home"), port_base=26940)
    scratch = settings.home / "staging" / "sail"
    scratch.mkdir(parents=True)
    (scratch / "of-a-crash").write_text("somebody's rows")
    before = dict(os.environ)
    with sail.sail_session(settings) as session:
        port = int(session.client._builder.url.netloc.rpartition(":")[2])
        rows = session.createDataFrame([("c_1", 2), ("c_2", 3)], "customer_id string, contacts bigint")
        seen = {
            "rows": sorted(tuple(row) for row in rows.localCheckpoint().collect()),
            "small": is_small(session),
            "kept": [path.name for path in scratch.rglob("*") if path.is_file()],
        }
        with pytest.raises(PySparkException) as failed:
            try_again(session)
    return {"before": before, "after": dict(os.environ), "scratch": scratch, "port": port, "failed": failed} | seen


def try_again(session) -> None:
    session.sql("SELECT nothing_of_this_name").collect()


def test_it_works_beside_blanks_and_chinese(opened):
    assert opened["rows"] == [("c_1", 2), ("c_2", 3)]
    assert opened["small"], "plans are cut short as in a small session of Spark"
    assert opened["kept"] == [], "no row of this session or of one that crashed lies there"


def test_nothing_is_left(opened):
    assert opened["after"] == opened["before"], "Spark's own session may be opened next"
    assert not Path(opened["scratch"]).exists()
    with socket.socket() as asked:
        assert asked.connect_ex(("127.0.0.1", opened["port"])) != 0, "its server has ended"


def test_an_error_of_sail_says_what_else_there_is(tmp_path):
    with (
        pytest.raises(PySparkException) as failed,
        sail.sail_session(Settings.load(home=tmp_path, port_base=26940)) as s,
    ):
        try_again(s)
    assert any("--spark" in note for note in failed.value.__notes__)
