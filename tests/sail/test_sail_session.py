"""What a session on Sail leaves behind: nothing. And what its errors say."""

from __future__ import annotations

import os
import socket

import pytest
from pyspark.errors import PySparkException

from jobs.spark import sail
from jobs.spark.session import is_small
from pipelines.io import spark_delta

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """One of this module's own, used and closed; the folder has what an address would have to encode."""
    folder = tmp_path_factory.mktemp("客服 home") / "staged"
    before = dict(os.environ)
    with sail.sail_session() as session:
        port = int(session.client._builder.url.netloc.rpartition(":")[2])
        rows = session.createDataFrame([("c_1", 2), ("c_2", 3)], "customer_id string, contacts bigint")
        staged = spark_delta.stage(rows.localCheckpoint(), folder)
        seen = {"rows": sorted(tuple(row) for row in staged.collect()), "small": is_small(session)}
    return {"before": before, "after": dict(os.environ), "port": port} | seen


def test_a_proxy_of_the_machine_is_not_asked_for_this_machine(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # takes a connection and says nothing
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with sail.sail_session() as session:
            assert session.range(2).count() == 2
        nobody.settimeout(0)
        with pytest.raises(BlockingIOError):
            nobody.accept()


def test_it_works_beside_blanks_and_chinese(opened):
    assert opened["rows"] == [("c_1", 2), ("c_2", 3)]
    assert opened["small"], "plans are cut short as in a small session of Spark"


def test_nothing_is_left(opened):
    assert opened["after"] == opened["before"], "Spark's own session may be opened next"
    with socket.socket() as asked:
        assert asked.connect_ex(("127.0.0.1", opened["port"])) != 0, "its server has ended"


def test_an_error_of_sail_says_what_else_there_is():
    with pytest.raises(PySparkException) as failed, sail.sail_session() as session:
        session.sql("SELECT nothing_of_this_name").collect()
    assert any("--spark" in note for note in failed.value.__notes__)
