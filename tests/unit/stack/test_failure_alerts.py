"""A failed task is told to people, whatever becomes of the hook."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace as Of

import pytest

from infra.airflow import alerts
from infra.stack.settings import Settings

CONTEXT = {
    "ti": Of(dag_id="backup", task_id="full", run_id="r1", try_number=3),
    "dag_run": Of(partition_key="2026-11-28"),
}


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict]]]:
    """A real HTTP server that keeps what it is sent; /broken answers 500."""
    taken: list[dict] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    monkeypatch.delenv(alerts.WEBHOOK, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Settings.load()


def lines(home: Settings) -> list[dict]:
    return [json.loads(line) for line in alerts.alerts_file(home).read_text(encoding="utf-8").splitlines()]


def test_without_a_hook_the_file_has_it(home):
    alerts.tell_failure(CONTEXT)
    alerts.tell_failure(CONTEXT)
    assert [(line["dag_id"], line["task_id"], line["run_id"]) for line in lines(home)] == [("backup", "full", "r1")] * 2


def test_the_hook_gets_a_text_message(home, hook, monkeypatch):
    address, taken = hook
    monkeypatch.setenv(alerts.WEBHOOK, address)
    alerts.tell_failure(CONTEXT)
    [message] = taken
    assert message["msgtype"] == "text"
    assert message["text"]["content"].startswith("Kefulake: backup.full failed at try 3 (day 2026-11-28")


@pytest.mark.parametrize("path", ["/broken", ":1/nobody"], ids=["answers 500", "cannot be reached"])
def test_a_hook_that_fails_is_logged_without_its_address(home, hook, monkeypatch, caplog, path):
    address, _ = hook
    caplog.set_level("INFO")
    monkeypatch.setenv(alerts.WEBHOOK, "http://127.0.0.1" + path if path.startswith(":") else address + path)
    alerts.tell_failure(CONTEXT)
    assert len(lines(home)) == 1
    assert "was not taken" in caplog.text
    assert "127.0.0.1" not in caplog.text  # a hook's address holds its key
