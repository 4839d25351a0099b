"""A source system's API that misbehaves on purpose: answers by a schedule, records that change meanwhile.

It serves each declared resource in its declared page form and authentication. What happens to an answer:
``rate_seconds``, ``rate_date``: 429 with Retry-After in either form · ``error_*``: that status · ``stall``,
``slow_body``: nothing for longer than a client waits, before or within the body · ``reset``: RST in the body · ``cut``:
the connection ends before Content-Length · ``not_json``: a whole body that is half a document · ``half``: fewer records
than the answer itself says · ``repeated``: the records of the answer before · ``reordered``: those of the page behind
(by token both pages come, in the other order) · ``token_expired``: 401 until there is a new token ·
``walk_expired``: 410. The sockets are in pipelines/simulation/api_http.py.
"""

from __future__ import annotations

import base64
import random
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import orjson

from pipelines.channels.instants import instant_us
from pipelines.connectors.resources import (
    ClientCredentials,
    Connectors,
    LinkPages,
    NumberPages,
    OffsetPages,
    Resource,
    TokenPages,
)
from pipelines.simulation.api_faults import Schedule
from pipelines.simulation.api_population import Population, Row

SECRETS = {"client_id": "kefulake", "client_secret": "s3cret", "token": "t0ken", "key": "k3y", "user": "kefulake"}
SECRETS |= {"password": "passw0rd"}
_US = 1_000_000
CHANGES_A_RUN = 60


class _Slice(NamedTuple):
    rows: list[Row]
    total: int
    more: bool
    following: str


class MisbehavingApi:
    """State of the server: populations by resource, how many answers there were, tokens, what a swap still owes."""

    def __init__(
        self, connectors: Connectors, populations: Mapping[str, Population], schedule: Schedule, stall_s: float
    ) -> None:
        self.connectors, self.populations, self.schedule, self.stall_s = connectors, populations, schedule, stall_s
        self.chance = random.Random(f"{schedule.seed}/server")  # noqa: S311
        self.by_path = {resource.path: resource for resource in connectors.resources.values()}
        self.answers = 0
        #: While pages are read; whoever runs sets it. What changes faster than it can be read has no end to come to.
        self.changes_left = CHANGES_A_RUN
        self.met: dict[str, int] = {}
        self.tokens: set[str] = set()
        self.lock = threading.Lock()
        self._before: dict[str, list[Row]] = {}
        self._misplaced: tuple[str, str] | None = None
        self._owed: dict[tuple[str, str], list[Row]] = {}

    def pass_time(self, seconds: float) -> None:
        """Move the clock of all populations."""
        for population in self.populations.values():
            population.now_us += int(seconds * _US)

    def now_s(self) -> float:
        """The clock of the Date header."""
        return next(iter(self.populations.values())).now_us / _US + self.schedule.date_skew_s

    def fault(self, resource: Resource, asked: Mapping[str, str]) -> str | None:
        """What happens to this answer; counts it."""
        found = self.schedule.fault(self.answers)
        self.answers += 1
        auth = self.connectors.sources[resource.source].auth
        if found == "token_expired" and not isinstance(auth, ClientCredentials):
            found = None
        if found == "walk_expired" and not (isinstance(resource.page, TokenPages) and resource.page.parameter in asked):
            found = None
        # No client can tell a misplaced page from the right one if it comes twice running.
        if found in ("repeated", "reordered"):
            where = (resource.name, repr(sorted(asked.items())))
            found = None if self._misplaced == where else found
            self._misplaced = where if found else None
        if found is not None:
            self.met[found] = self.met.get(found, 0) + 1
        return found

    def page(self, resource: Resource, asked: Mapping[str, str], fault: str | None) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a page."""
        population = self.populations[resource.name]
        if self.changes_left > 0 and self.chance.random() < self.schedule.churn:
            # A bulk statement a page or so would be more than anybody could read.
            bulk = self.chance.random() < 0.1
            times = self.chance.randrange(1, 4)
            self.changes_left -= times
            (population.told_by or population).change(times, bulk=bulk)
        found = _slice(population, resource, asked)
        rows, key = found.rows, (resource.name, asked.get(getattr(resource.page, "parameter", "page"), ""))
        if fault == "repeated" and (before := self._before.get(resource.name)):
            rows = before
        elif fault == "reordered" and found.more:
            rows = _slice(population, resource, dict(asked) | _behind(resource, asked, found)).rows
            if isinstance(resource.page, TokenPages):
                self._owed[(resource.name, found.following)] = found.rows
        elif isinstance(resource.page, TokenPages) and (owed := self._owed.pop(key, None)):
            rows = owed
        self._before[resource.name] = rows
        values = [row.value for row in rows]
        given = values[: len(values) // 2] if fault == "half" else values
        return _body(resource, asked, found, given, len(values))


def _slice(population: Population, resource: Resource, asked: Mapping[str, str]) -> _Slice:
    """The rows of a page as the source sees it at this moment."""
    page, since = resource.page, asked.get(resource.cursor.parameter)
    rows = population.matching(None if since is None else instant_us(int(since) if since.isdecimal() else since, ""))
    size = int(asked[page.size_parameter])
    if isinstance(page, TokenPages):
        token = asked.get(page.parameter)
        if token:
            behind = tuple(orjson.loads(base64.urlsafe_b64decode(token)))
            rows = [row for row in rows if (row.changed_us, row.key) > behind]
        here = rows[:size]
        following = base64.urlsafe_b64encode(orjson.dumps([here[-1].changed_us, here[-1].key])).decode() if here else ""
        return _Slice(here, len(rows), len(rows) > size, following)
    start = int(asked.get("offset", 0)) if isinstance(page, OffsetPages) else (int(asked.get("page", 1)) - 1) * size
    return _Slice(rows[start : start + size], len(rows), start + size < len(rows), "")


def _behind(resource: Resource, asked: Mapping[str, str], found: _Slice) -> dict[str, str]:
    match resource.page:
        case TokenPages(parameter=name):
            return {name: found.following}
        case OffsetPages(parameter=name, size=size):
            return {name: str(int(asked.get(name, 0)) + size)}
    return {"page": str(int(asked.get("page", 1)) + 1)}


def _body(
    resource: Resource, asked: Mapping[str, str], found: _Slice, given: list[bytes], count: int
) -> tuple[bytes, dict[str, str]]:
    page, headers = resource.page, {}
    envelope: dict[str, Any] = {}
    match page:
        case NumberPages():
            _put(envelope, page.total, found.total)
            if page.echo:
                _put(envelope, page.echo, int(asked.get(page.parameter, 1)))
        case OffsetPages():
            _put(envelope, page.total, found.total)
        case TokenPages():
            _put(envelope, page.next, found.following if found.more else None)
            if page.has_more:
                _put(envelope, page.has_more, found.more)
            if page.count:
                _put(envelope, page.count, count)
        case LinkPages():
            if page.total_header:
                headers[page.total_header] = str(found.total)
            if found.more:
                link = resource.path + "?" + urlencode(dict(asked) | {"page": int(asked.get("page", 1)) + 1})
                headers["Link"] = f'<{link}>; rel="next", <{resource.path}>; rel="first"'
    if not resource.records:
        return b"[" + b",".join(given) + b"]", headers
    _put(envelope, resource.records, [msgspec.Raw(value) for value in given])
    return msgspec.json.encode(envelope), headers


def _put(envelope: dict[str, Any], path: str, value: Any) -> None:
    *above, name = path.split(".")
    for part in above:
        envelope = envelope.setdefault(part, {})
    envelope[name] = value
