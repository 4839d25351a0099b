"""Without a MariaDB a gold build is no failure: what agents see, and what to do, is said in one line."""

from __future__ import annotations

import argparse
import logging

import pytest

from jobs.ops.serving import ServingFailed, serve_customers
from jobs.spark import runner


def test_a_server_that_was_never_set_up_is_said(settings, monkeypatch):
    monkeypatch.delenv("KEFULAKE_DATABASE_URL", raising=False)
    with pytest.raises(ServingFailed, match=r"build before: .*never set up.*kefulake lookup publish"):
        serve_customers(settings)


def test_a_server_that_does_not_answer_leaves_a_build_published(settings, monkeypatch, caplog):
    monkeypatch.setenv("KEFULAKE_DATABASE_URL", "mysql+pymysql://writer:s3cret@127.0.0.1:1/kefulake")
    with caplog.at_level(logging.ERROR):
        runner._serve_customers(settings)
    [line] = [record.getMessage() for record in caplog.records]
    assert "Can't connect to MySQL server" in line
    assert "s3cret" not in line


def test_a_run_of_builds_serves_once_after_spark_has_let_its_memory_go(settings, monkeypatch):
    done = []

    class Spark:
        def stop(self):
            done.append("stopped")

        def cache(self):
            return self

    monkeypatch.setattr(runner, "spark_session", lambda *_, **__: Spark())
    monkeypatch.setattr(runner, "silver_row_count", lambda _: 0)
    monkeypatch.setattr(runner, "silver_rows", lambda *_: (Spark(), {}))
    monkeypatch.setattr(runner, "is_small", lambda _: True)
    monkeypatch.setattr(runner, "settled", lambda rows: rows)
    monkeypatch.setattr(runner, "_tell_trino", lambda _: None)
    monkeypatch.setattr(runner, "_serve_customers", lambda _: done.append("served"))
    builds = [(lambda *_, name=name: done.append(name), argparse.Namespace()) for name in ("view", "tags")]
    assert runner.run_gold("gold", builds) == 0
    assert done == ["view", "tags", "stopped", "served"]
