"""Without a MariaDB a gold build is no failure: what agents see, and what to do, is said in one line."""

from __future__ import annotations

import logging

import pytest

from jobs.ops.serving import ServingFailed, serve_customers
from jobs.spark.runner import _serve_customers


def test_a_server_that_was_never_set_up_is_said(settings, monkeypatch):
    monkeypatch.delenv("KEFULAKE_DATABASE_URL", raising=False)
    with pytest.raises(ServingFailed, match=r"build before: .*never set up.*kefulake lookup publish"):
        serve_customers(settings)


def test_a_server_that_does_not_answer_leaves_a_build_published(settings, monkeypatch, caplog):
    monkeypatch.setenv("KEFULAKE_DATABASE_URL", "mysql+pymysql://writer:s3cret@127.0.0.1:1/kefulake")
    with caplog.at_level(logging.ERROR):
        _serve_customers(settings)
    [line] = [record.getMessage() for record in caplog.records]
    assert "Can't connect to MySQL server" in line
    assert "s3cret" not in line
