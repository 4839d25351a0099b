"""A source that answers what it is told to, in turn, over a real socket; the last answer again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import MappingProxyType
from typing import NamedTuple


class Told(NamedTuple):
    """One answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = MappingProxyType({})
    rests_s: float = 0.0  # after the head


class _Server(HTTPServer):
    answers: list[Told]
    asked: list[tuple[str, dict[str, str]]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return "Fri, 09 Jan 2026 00:00:00 GMT"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((f"{self.command} {self.path}", dict(self.headers)))
        answers = self.server.answers
        told = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(told.status)
        for name, value in ({"Content-Length": str(len(told.body))} | dict(told.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        time.sleep(told.rests_s)
        self.wfile.write(told.body)
        if "Content-Length" in told.headers:  # more was promised
            self.close_connection = True

    do_POST = do_GET


@contextmanager
def source(answers: Sequence[Told]) -> Iterator[_Server]:
    """Serve; ``asked`` of it is what came, as (method and path, headers)."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.answers, server.asked = list(answers), []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
