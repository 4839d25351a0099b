"""The sockets of the misbehaving API: who may ask, what is answered, and how an answer is spoilt on the wire."""

from __future__ import annotations

import base64
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from pipelines.connectors.resources import ApiKey, Basic, Bearer, ClientCredentials, KeyComparison, Resource
from pipelines.simulation.api_server import SECRETS, MisbehavingApi

_STATUS = {"error_500": 500, "error_502": 502, "error_503": 503, "walk_expired": 410}
_REST_S = 7
_LINGER_0 = struct.pack("ii", 1, 0)  # close with RST


@contextmanager
def serving(api: MisbehavingApi) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1; its base address."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.api = api
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: MisbehavingApi


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def api(self) -> MisbehavingApi:
        """Who answers."""
        return self.server.api

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.api.now_s(), usegmt=True)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if form.get("client_secret") != [SECRETS["client_secret"]]:
            return self.answer(401, b"{}")
        token = secrets.token_hex(8)
        self.api.tokens.add(token)
        return self.answer(200, orjson.dumps({"access_token": token, "expires_in": 3600}))

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        resource = self.api.by_path.get(address.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        with self.api.lock:
            self.api.pass_time(self.api.chance.uniform(0.05, 1.5))
            if resource is None:
                return self.item(address.path)
            fault = self.api.fault(resource, asked)
            if fault == "token_expired":
                self.api.tokens.clear()
            if not _may(self.api, resource, self.headers):
                return self.answer(401, b"{}")
            if fault in _STATUS:
                return self.answer(_STATUS[fault], b"{}")
            if fault == "rate_seconds":
                return self.answer(429, b"{}", {"Retry-After": str(_REST_S)})
            if fault == "rate_date":
                return self.answer(429, b"{}", {"Retry-After": formatdate(self.api.now_s() + _REST_S, usegmt=True)})
            body, headers = self.api.page(resource, asked, fault)
        return self.spoilt(fault, body, headers)

    def item(self, path: str) -> None:
        """One record by its key, for whoever compares keys."""
        for resource in self.api.connectors.resources.values():
            rule = resource.deletions
            if isinstance(rule, KeyComparison) and path.startswith(front := rule.item_path.partition("{key}")[0]):
                if not _may(self.api, resource, self.headers):
                    return self.answer(401, b"{}")
                row = self.api.populations[resource.name].rows.get(unquote(path.removeprefix(front)))
                return self.answer(404, b"{}") if row is None else self.answer(200, row.value)
        return self.answer(404, b"{}")

    def spoilt(self, fault: str | None, body: bytes, headers: Mapping[str, str]) -> None:
        if fault == "stall":
            time.sleep(self.api.stall_s)
        if fault == "not_json":
            body = body[: len(body) * 2 // 3]
        if fault not in ("reset", "cut", "slow_body"):
            return self.answer(200, body, headers)
        try:
            self.head(200, len(body), headers)
            self.wfile.write(body[: len(body) // 2])
        except OSError:
            fault = "cut"
        if fault == "slow_body":
            time.sleep(self.api.stall_s)
            return self.rest(body[len(body) // 2 :])
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        self.close_connection = True
        self.connection.close()
        return None

    def rest(self, body: bytes) -> None:
        try:
            self.wfile.write(body)
        except OSError:  # the client did not wait
            self.close_connection = True

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        try:
            self.head(status, len(body), headers or {})
        except OSError:
            self.close_connection = True
            return
        self.rest(body)

    def head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _may(api: MisbehavingApi, resource: Resource, headers: Mapping[str, str]) -> bool:
    told = headers.get("Authorization", "")
    match api.connectors.sources[resource.source].auth:
        case ClientCredentials():
            return told.removeprefix("Bearer ") in api.tokens
        case Bearer():
            return told == f"Bearer {SECRETS['token']}"
        case ApiKey(header=name):
            return headers.get(name) == SECRETS["key"]
        case Basic():
            pair = f"{SECRETS['user']}:{SECRETS['password']}"
            return told == f"Basic {base64.b64encode(pair.encode()).decode()}"
