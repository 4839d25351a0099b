"""One source over HTTP: at its pace, with patience, and no answer taken that is not whole."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from pipelines.connectors.access import Access
from pipelines.connectors.clock import Clock
from pipelines.connectors.credentials import Credentials
from pipelines.connectors.failures import AccessRefused, GivenUp, Passing, SourceRefused
from pipelines.connectors.resources import Client, Source

# Its own log names every address asked for, and an address may hold a customer's number.
logging.getLogger("httpx").setLevel(logging.WARNING)
log = logging.getLogger(__name__)
T = TypeVar("T")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Answer(NamedTuple):
    """A whole answer: ``server_at_us`` is its Date header (microseconds UTC), None where there is none."""

    status: int
    headers: httpx.Headers
    body: bytes
    server_at_us: int | None


class SourceClient:
    """Asks one source, which is at ``origin``; ``retries`` counts attempts after the first."""

    def __init__(
        self, name: str, source: Source, access: Access, limits: Client, clock: Clock, chance: random.Random
    ) -> None:
        timeout = httpx.Timeout(limits.read_timeout_s, connect=limits.connect_timeout_s)
        self._shown = ""
        self._http = httpx.Client(timeout=timeout, follow_redirects=False, headers={"User-Agent": "kefulake"})
        self._name, self._limits, self._clock, self._chance = name, limits, clock, chance
        self.origin = access.base_url
        self._apart_s, self._next_at_s = 1 / source.requests_per_s, clock.monotonic()
        self._credentials = Credentials(name, source.auth, access, clock, self._token_answer)
        self.retries = 0

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def get(
        self, path: str, parameters: Mapping[str, str], read: Callable[[Answer], T], also: frozenset[int] = frozenset(),
        *, shown: str = "",
    ) -> T:  # fmt: skip
        """What ``read`` makes of the answer to ``path`` (below the base, or a whole address of the same server).

        ``read`` may raise Passing for a page that is not whole: it is asked for again. Statuses ``also`` are handed to
        it like 200. Tried as often as policy allows, then GivenUp. ``shown`` stands in messages for a path that names a
        customer.

        Raises:
            AccessRefused, SourceRefused: repeating would not help.
            GivenUp: it did not get better, or the server wants a longer rest than policy allows.
        """
        self._shown = shown or path
        retrying = Retrying(
            retry=retry_if_exception_type(Passing),
            stop=lambda state: stop_after_attempt(self._limits.attempts)(state) or self._too_long(state),
            wait=self._wait_s,
            sleep=self._clock.sleep,
            before_sleep=self._count,
            reraise=True,
        )
        try:
            return retrying(self._once, path, parameters, read, also)
        except Passing as passing:
            if passing.after_s is not None and passing.after_s > self._limits.retry_after_most_s:
                raise GivenUp(
                    f"source {self._name} wants to be left alone for {passing.after_s:,.0f} s ({passing.why}); "
                    "the next run goes on"
                ) from None
            raise GivenUp(
                f"source {self._name} gave no whole answer to {self._shown} in {self._limits.attempts} attempts; "
                f"the last: {passing.why}. The next run goes on where this one stopped"
            ) from None

    def _once(self, path: str, parameters: Mapping[str, str], read: Callable[[Answer], T], also: frozenset[int]) -> T:
        answer = self._asked(path, parameters)
        if answer.status == 401 and self._credentials.refused():
            answer = self._asked(path, parameters)
        if answer.status == 401:
            raise AccessRefused(
                f"source {self._name} refuses our credentials (401 at {self._shown}). "
                "Check them in keys/connectors.yaml"
            )
        if answer.status in _PASSING:
            raise Passing(f"status {answer.status}", _rest_s(answer))
        if answer.status != 200 and answer.status not in also:
            raise SourceRefused(f"source {self._name} answers {answer.status} at {self._shown}: is that path right?")
        return read(answer)

    def _asked(self, path: str, parameters: Mapping[str, str]) -> Answer:
        response = self._send("GET", path, params=dict(parameters), headers=self._credentials.headers())
        return Answer(response.status_code, response.headers, response.content, _server_at_us(response.headers))

    def _token_answer(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        response = self._send(method, path, **arguments)
        if response.status_code in _PASSING:
            answer = Answer(response.status_code, response.headers, b"", _server_at_us(response.headers))
            raise Passing(f"status {response.status_code} at {path}", _rest_s(answer))
        return response

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request, when its turn has come. Raises Passing where the connection or the body breaks."""
        self._pace()
        address = path if path.startswith("http") else self.origin + path
        if path.startswith("http"):  # a link carries its parameters
            arguments.pop("params", None)
        until_s = self._clock.monotonic() + self._limits.answer_timeout_s
        try:
            with self._http.stream(method, address, **arguments) as response:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > self._limits.max_answer_bytes:
                        raise SourceRefused(
                            f"source {self._name}: the answer to {self._shown} is larger than "
                            f"{self._limits.max_answer_bytes:,} bytes; declare smaller pages"
                        )
                    if self._clock.monotonic() > until_s:
                        raise Passing(f"the answer took longer than {self._limits.answer_timeout_s:g} s")
        except (httpx.TransportError, httpx.DecodingError) as error:
            # Its own words may hold a header, and with it a secret.
            raise Passing(type(error).__name__) from None
        # The body was read piece by piece, decoded: hand it on under the headers it came with.
        headers = [(name, value) for name, value in response.headers.multi_items() if name != "content-encoding"]
        return httpx.Response(response.status_code, headers=headers, content=bytes(body))

    def _pace(self) -> None:
        now_s = self._clock.monotonic()
        if now_s < self._next_at_s:
            self._clock.sleep(self._next_at_s - now_s)
        self._next_at_s = max(now_s, self._next_at_s) + self._apart_s

    def _wait_s(self, state: RetryCallState) -> float:
        """What the server asks for, else doubling waits, half of them chance: many clients do not come back at once."""
        passing = state.outcome.exception()
        if passing.after_s is not None:
            return passing.after_s
        most = min(self._limits.backoff_most_s, self._limits.backoff_first_s * 2 ** (state.attempt_number - 1))
        return most / 2 + self._chance.random() * most / 2

    def _too_long(self, state: RetryCallState) -> bool:
        passing = state.outcome.exception()
        after_s = passing.after_s if isinstance(passing, Passing) else None
        return after_s is not None and after_s > self._limits.retry_after_most_s

    def _count(self, state: RetryCallState) -> None:
        self.retries += 1
        log.info("source %s: %s; again in %.1f s", self._name, state.outcome.exception(), state.next_action.sleep)


def _rest_s(answer: Answer) -> float | None:
    """Retry-After in seconds: as a number, or as a date against the server's own Date. Neither: None."""
    written = answer.headers.get("retry-after", "").strip()
    if written.isdecimal():
        return float(written[:9])
    at = _date(written)
    if at is None or answer.server_at_us is None:
        return None
    return max(at.timestamp() - answer.server_at_us / 1e6, 0.0)


def _server_at_us(headers: httpx.Headers) -> int | None:
    at = _date(headers.get("date", ""))
    return None if at is None else int(at.timestamp() * 1_000_000)


def _date(written: str) -> datetime | None:
    try:
        return parsedate_to_datetime(written)
    except (ValueError, TypeError):
        return None
