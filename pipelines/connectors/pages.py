"""Pages: how each form of them is asked for, and what an answer must hold to be a whole one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import httpx
import msgspec

from pipelines import contracts
from pipelines.connectors.failures import Passing, SourceRefused, WalkExpired
from pipelines.connectors.http_client import Answer
from pipelines.connectors.resources import LinkPages, NumberPages, OffsetPages, Resource, TokenPages

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel\s*=\s*"?next"?', re.IGNORECASE)


class Step(NamedTuple):
    """What to ask for: records changed at or after ``since_us`` (None: all), behind the first ``start`` of them.

    ``token`` is what the source gave to go on with; ``top_us`` the latest change met on the way, as far as it counts.
    """

    since_us: int | None
    start: int = 0
    token: str | None = None
    top_us: int | None = None


class Page(NamedTuple):
    """The records as their bytes came, and how to go on; ``following`` None: the source says these were the last."""

    values: list[bytes]
    following: Step | None
    server_at_us: int | None
    digest: bytes


def written(form: str, at_us: int) -> str:
    """An instant as the API's filter takes it, rounded down.

    >>> [written(form, 1767916800_123_456) for form in ("epoch_s", "epoch_ms", "iso", "local")]
    ['1767916800', '1767916800123', '2026-01-09T00:00:00.123Z', '2026-01-09 08:00:00']
    """
    if form in ("epoch_s", "epoch_ms"):
        return str(at_us // (1_000_000 if form == "epoch_s" else 1_000))
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    if form == "iso":
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03d}Z"
    zone = ZoneInfo(contracts.policy("channels")["time"]["default_zone"])
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def request(resource: Resource, step: Step) -> tuple[str, dict[str, str]]:
    """Path and parameters of a step; a link carries its own."""
    page, cursor = resource.page, resource.cursor
    if isinstance(page, LinkPages) and step.token is not None:
        return step.token, {}
    asked = dict(resource.parameters) | {page.size_parameter: str(page.size)}
    if step.since_us is not None:
        asked[cursor.parameter] = written(cursor.form, step.since_us)
    match page:
        case NumberPages():
            asked[page.parameter] = str(page.first + step.start // page.size)
        case OffsetPages():
            asked[page.parameter] = str(step.start)
        case TokenPages() if step.token is not None:
            asked[page.parameter] = step.token
    return resource.path, asked


def read(resource: Resource, step: Step, answer: Answer, origin: str) -> Page:
    """The page an answer holds.

    Raises:
        Passing: it is cut off, holds fewer records than it says, or is another page than the one asked for.
        WalkExpired: the source does not know the token any more.
        SourceRefused: a link leads to another server.
    """
    page = resource.page
    if isinstance(page, TokenPages) and answer.status in page.expired:
        raise WalkExpired(f"{resource.name}: the source has forgotten where the walk stood")
    values = _records(answer.body, resource.records)
    match page:
        case NumberPages() | OffsetPages():
            following = _counted(page, step, answer.body, len(values))
        case TokenPages():
            following = _by_token(page, step, answer.body, len(values))
        case LinkPages():
            following = _linked(page, step, answer.headers, len(values), origin)
    digest = blake2b(b"\x1f".join(values), digest_size=8).digest()
    return Page(values, following, answer.server_at_us, digest)


def _records(body: bytes, path: str) -> list[bytes]:
    found = _at(body, path)
    if found is None:
        raise Passing(f"the answer has no {path}")
    try:
        return [bytes(value) for value in msgspec.json.decode(found, type=list[msgspec.Raw])]
    except msgspec.DecodeError as error:
        raise Passing(f"the answer is no whole JSON list at {path or 'its root'}: {error}") from None


def _at(body: bytes | msgspec.Raw, path: str) -> bytes | msgspec.Raw | None:
    """The bytes of a member of nested objects; None where it is not there."""
    for name in path.split(".") if path else ():
        try:
            body = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get(name)
        except msgspec.DecodeError as error:
            raise Passing(f"the answer is no whole JSON: {error}") from None
        if body is None:
            return None
    return body


def _value(body: bytes, path: str, kind: Any) -> Any:
    found = _at(body, path)
    try:
        return None if found is None else msgspec.json.decode(found, type=kind)
    except msgspec.DecodeError as error:
        raise Passing(f"{path} of the answer: {error}") from None


def _counted(page: NumberPages | OffsetPages, step: Step, body: bytes, came: int) -> Step | None:
    total = _value(body, page.total, int | None)
    if total is None:
        raise Passing(f"the answer has no {page.total}")
    _whole(total - step.start, page.size, came)
    if isinstance(page, NumberPages) and page.echo is not None:
        asked, told = page.first + step.start // page.size, _value(body, page.echo, int | None)
        if told != asked:
            raise Passing(f"page {asked} was asked for, page {told} came")
    return step._replace(start=step.start + page.size) if step.start + came < total else None


def _whole(left: int, size: int, came: int) -> None:
    due = max(0, min(size, left))
    if came < due:
        raise Passing(f"a half page: {came} records came, {due} are due")


def _by_token(page: TokenPages, step: Step, body: bytes, came: int) -> Step | None:
    following = _value(body, page.next, str | None) or None
    if page.count is not None and (told := _value(body, page.count, int | None)) != came:
        raise Passing(f"a half page: {came} records came, the answer says {told}")
    if page.has_more is not None:
        more = _value(body, page.has_more, bool | None)
        if more and following is None:
            raise Passing(f"{page.has_more} says there is more, and {page.next} is missing")
        if more and came < page.size:
            raise Passing(f"a half page: {came} records came and there is more, {page.size} are due")
        following = following if more else None
    if following is not None and following == step.token:
        raise Passing("the answer leads to itself")
    return None if following is None else step._replace(token=following)


def _linked(page: LinkPages, step: Step, headers: Mapping[str, str], came: int, origin: str) -> Step | None:
    found = _NEXT.search(headers.get("link", ""))
    if page.total_header is not None:
        total = headers.get(page.total_header, "")
        if not total.isdecimal():
            raise Passing(f"the answer has no {page.total_header}")
        _whole(int(total[:12]) - step.start, page.size, came)
    if found is None:
        return None
    if came < page.size:
        raise Passing(f"a half page: {came} records came and there is more, {page.size} are due")
    return step._replace(start=step.start + page.size, token=_same_server(found[1], origin))


def _same_server(link: str, origin: str) -> str:
    """The link as an address of the source itself: our credentials go nowhere else."""
    ours, theirs = httpx.URL(origin), httpx.URL(origin).join(link)
    if (ours.scheme, ours.host, ours.port) != (theirs.scheme, theirs.host, theirs.port):
        raise SourceRefused("a link to the next page leads to another server; it is not followed")
    return str(theirs)
