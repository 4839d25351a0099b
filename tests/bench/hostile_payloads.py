"""Hostile messages for every channel, the same for the same seed, each with the verdict it must end with."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import orjson
from hypothesis import HealthCheck, Phase, given
from hypothesis import seed as hypothesis_seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.simulation.wire import TIME_FIELD, serialise
from tests.bench.honest_forms import CHANNELS, JSON_CHANNELS, XML_CHANNELS, document, honest

Headers = tuple[tuple[str, bytes | None], ...]
# not_xml: what begins with < is read as XML where the platform sends both.
NOT_JSON = ("payload.not_json", "payload.bad_encoding", "payload.empty", "payload.not_xml")
YEAR_2099, YEAR_10000 = 4_070_908_800, 253_402_300_800


class Hostile(NamedTuple):
    """A message and what must become of it.

    expect: "kept", "rejected", or "one output": any verdict will do, as long as there is exactly one.
    rules: what a reject may give as its rule; empty: any. record_ms: Kafka's record time, 0: now.
    """

    kind: str
    channel: str
    payload: bytes | None
    expect: str = "rejected"
    rules: tuple[str, ...] = ()
    headers: Headers = ()
    record_ms: int = 0


class Sizes(NamedTuple):
    """How much of each: examples a channel drawn at random, bytes of a large body, and the largest a topic takes."""

    random_examples: int
    large: int
    largest: int


def payloads(seed: int, at_s: int, sizes: Sizes) -> Iterator[Hostile]:
    """All hostile messages, channel by channel; `at_s` is the business time of those that have an honest one."""
    chance = random.Random(seed)
    for number, channel in enumerate(CHANNELS):
        numbers = iter(range(1_000_000 + number * 10_000, 10**9))
        yield from _random_bytes(chance, channel, seed + number, sizes.random_examples)
        yield from _one_field_replaced(channel, seed + number, numbers, at_s, sizes.random_examples)
        yield from _encodings(chance, channel, numbers, at_s)
        yield from _nested(channel)
        yield from _numbers(channel, numbers, at_s)
        yield from _times(channel, numbers, at_s)
        yield from _entities(channel)
        yield from _large(chance, channel, numbers, at_s, sizes)
    yield from _mails(at_s)


def kafka_only(seed: int, at_s: int, sizes: Sizes) -> Iterator[Hostile]:
    """What no gateway lets through: no bytes at all, headers and record times of a broken producer, the largest."""
    chance = random.Random(seed + 1)
    for number, channel in enumerate(CHANNELS):
        numbers = iter(range(2_000_000 + number * 10_000, 10**9))
        yield Hostile("empty", channel, b"", rules=("payload.empty",))
        yield Hostile("tombstone", channel, None, rules=("payload.empty",))
        if channel in GROWING:
            yield Hostile("as large as the topic takes", channel, chance.randbytes(sizes.largest))
        for headers in (
            (("account", b"\xff\xfe\x80"), ("source_ref", b"\xc3")),
            (("attempt", b"9" * 5_000),),  # Python reads no whole number of more than 4,300 digits
            (("attempt", b"\xff"), ("first_offset", b"x"), ("first_topic", b"a|b|c"), ("first_partition", b"1e9")),
            (("account", b"a"), ("account", None), ("", b""), ("account", b"\0" * 10_000)),
        ):
            yield Hostile("headers", channel, honest(channel, next(numbers), at_s), "one output", headers=headers)
        yield Hostile("record time in 1970", channel, honest(channel, next(numbers), at_s), record_ms=1,
                      rules=("time.out_of_range",))  # fmt: skip


def json_suite(files: dict[str, bytes], channels: tuple[str, ...]) -> Iterator[Hostile]:
    """A JSON parser's test suite: n_ must not parse, y_ must and i_ may, but none of them is a contact."""
    for channel in channels:
        for name, payload in files.items():
            rules = NOT_JSON if name.startswith("n_") else ()
            yield Hostile(f"json_bad_inputs {name[:2]}", channel, payload, rules=rules)


def drawn(strategy: st.SearchStrategy, seed: int, examples: int) -> list:
    """That many examples of a Hypothesis strategy, the same for the same seed."""
    found: list = []

    @hypothesis_seed(seed)
    @hypothesis_settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
                         suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def collect(example: object) -> None:
        found.append(example)

    collect()
    return found[:examples]


def _random_bytes(chance: random.Random, channel: str, seed: int, examples: int) -> Iterator[Hostile]:
    for payload in drawn(st.binary(min_size=1, max_size=400), seed, examples):
        yield Hostile("random bytes", channel, payload)
    for _ in range(examples):
        yield Hostile("random bytes", channel, chance.randbytes(chance.randint(1, 5_000)))


_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def _one_field_replaced(channel: str, seed: int, numbers: Iterator[int], at_s: int, examples: int) -> Iterator[Hostile]:
    """Past the first missing field: an honest message with any value in one of its places."""
    for value, place in drawn(st.tuples(_TREES, st.integers(0, 30)), seed, examples):
        doc = document(channel, next(numbers), at_s, "什么时候发货")
        name = list(doc)[place % len(doc)]
        if channel in ("email", "wechat"):
            value = str(value)
        doc[name] = value
        if channel == "email":
            payload = "\r\n".join(f"{n}: {v}" for n, v in doc.items() if n).encode("utf-8", "replace") + b"\r\n\r\nx"
        else:
            payload = serialise(channel, doc)
        yield Hostile("one field replaced", channel, payload, "one output")


def _encodings(chance: random.Random, channel: str, numbers: Iterator[int], at_s: int) -> Iterator[Hostile]:
    text = honest(channel, next(numbers), at_s).decode()
    whole = text.encode()
    cut = whole[: whole.index("题".encode()) + 2]  # within a character
    if channel == "email":  # a mail says its charset itself, and one that is cut off is a mail
        yield Hostile("encoding: cut within a character", channel, cut, "one output")
        yield Hostile("encoding: GBK", channel, text.encode("gbk"), "one output")
    else:
        unreadable = ("payload.bad_encoding", "payload.not_json", "payload.not_xml", "payload.not_receipt")
        yield Hostile("encoding: cut within a character", channel, cut, rules=unreadable)
        yield Hostile("encoding: GBK", channel, text.encode("gbk"), rules=("payload.bad_encoding",))
    for name in ("utf-16", "utf-16-be", "utf-32"):
        # An XML reader knows UTF-16 by its first bytes and has to take it.
        expect = "one output" if channel == "wechat" else "rejected"
        yield Hostile("encoding: UTF-16, UTF-32", channel, text.encode(name), expect)
    yield Hostile("NUL bytes", channel, bytes(chance.randint(1, 3_000)))
    yield Hostile("NUL bytes", channel, b"\0" + whole)
    if channel in JSON_CHANNELS:
        escaped = orjson.dumps(document(channel, next(numbers), at_s, "@题@")).replace("@题@".encode(), b"%s")
        yield Hostile("NUL escaped in a text", channel, escaped % "发货\\u0000发货".encode(), "kept")
        yield Hostile("lone surrogate", channel, escaped % b"\\ud800", rules=("payload.not_json",))
    else:
        yield Hostile("lone surrogate", channel, whole.replace("题".encode(), b"&#xD800;\xed\xa0\x80"), "one output")


def _nested(channel: str) -> Iterator[Hostile]:
    deep = 10_000
    yield Hostile("10,000 deep", channel, b"[" * deep + b"]" * deep)
    yield Hostile("10,000 deep", channel, b'{"a":' * deep + b"1" + b"}" * deep)
    yield Hostile("10,000 deep", channel, b'{"extra":' + b"[" * deep + b"]" * deep + b"}")
    yield Hostile("10,000 deep", channel, b"<a>" * deep + b"</a>" * deep)


def _numbers(channel: str, numbers: Iterator[int], at_s: int) -> Iterator[Hostile]:
    if channel not in JSON_CHANNELS:
        return
    for written in (b"NaN", b"Infinity", b"-Infinity"):
        yield Hostile("NaN, Infinity", channel, b'{"score":%s}' % written, rules=("payload.not_json",))
    names = (b"score", b"response_time_s", b"handle_time_s", b"revision", b"asked_at", b"talk_s", b"made_sla")
    for written in (
        b"1e308",
        b"-1e308",
        b"1e-320",
        b"9" * 300,
        b"-9223372036854775809",
        b"1e999",
        b"0." + b"1" * 9_999,
    ):
        members = b",".join(b'"%s":%s' % (name, written) for name in names)
        whole = honest(channel, next(numbers), at_s)
        yield Hostile("huge numbers", channel, whole[:-1] + b"," + members + b"}", "one output")


def _times(channel: str, numbers: Iterator[int], at_s: int) -> Iterator[Hostile]:
    fields = {"store": "visited_at", "service_center": "accepted_at"}
    name = fields.get(channel) or TIME_FIELD[channel]
    written = {"1970": 0, "2099": YEAR_2099, "year 10000": YEAR_10000}
    if channel == "email":
        written = {"1970": "Thu, 01 Jan 1970 08:00:00 +0800", "2099": "Thu, 01 Jan 2099 08:00:00 +0800",
                   "year 10000": "Sat, 01 Jan 10000 08:00:00 +0800"}  # fmt: skip
    for year, time in written.items():
        doc = document(channel, next(numbers), at_s, "什么时候发货") | {name: time}
        rules = ("time.out_of_range", "time.unreadable") if year == "year 10000" else ("time.out_of_range",)
        yield Hostile(f"time: {year}", channel, serialise(channel, doc), rules=rules)


def _entities(channel: str) -> Iterator[Hostile]:
    laughs = b"".join(b'<!ENTITY a%d "%s">' % (i + 1, b"&a%d;" % i * 10) for i in range(10))
    bomb = b'<!DOCTYPE l [<!ENTITY a0 "ha">%s]><xml><Content>&a10;</Content></xml>' % laughs
    file = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><Content>&e;</Content></xml>'
    rules = ("payload.not_xml",) if channel in XML_CHANNELS else ()
    yield Hostile("XML bomb", channel, bomb, rules=rules)
    yield Hostile("external entity", channel, file, rules=rules)
    yield Hostile("external entity", channel, file.replace(b"file:///etc/passwd", b"http://127.0.0.1:9/x"), rules=rules)


# Bodies that grow are slow to make and to judge: a channel for each way a text is read.
GROWING = ("email", "phone", "web_chat", "wechat")
# Just below what policy channels.max_said_bytes keeps: the largest records there can be.
KEPT_BYTES = 950_000


def _large(chance: random.Random, channel: str, numbers: Iterator[int], at_s: int, sizes: Sizes) -> Iterator[Hostile]:
    """Large bodies, and those that grow on their way: quotes are escaped, a number becomes a longer token."""

    def said(unit: Callable[[int], str], size: int) -> bytes:
        bytes_a_unit = len(serialise(channel, document(channel, 0, at_s, unit(10**5) * 2)))
        bytes_a_unit -= len(serialise(channel, document(channel, 0, at_s, unit(10**5))))
        text = "".join(unit(10**5 + n) for n in range(size // bytes_a_unit))
        return serialise(channel, document(channel, next(numbers), at_s, text))

    yield Hostile("large: noise", channel, chance.randbytes(sizes.large))
    yield Hostile("large: a text", channel, said(lambda _: "发", sizes.large), "one output")
    if channel in GROWING:
        for unit in (lambda _: '"\\\n', lambda n: f"13{n:09d} ", lambda n: f"{n:x}@b.cn "):
            yield Hostile("large: growing texts", channel, said(unit, min(sizes.large, KEPT_BYTES)), "one output")
        yield Hostile("large: growing texts", channel, said(lambda n: f"{n:x}@b.cn ", sizes.large), "one output")
        doc = document(channel, next(numbers), at_s, "什么时候发货")
        long = {n: "i" * sizes.large for n, v in doc.items() if isinstance(v, str) and v.startswith("honest-")}
        if long:
            yield Hostile("large: identifiers", channel, serialise(channel, doc | long), "one output")


def _mails(at_s: int) -> Iterator[Hostile]:
    head = b"From: a@example.org\r\nDate: Fri, 09 Jan 2026 08:00:00 +0800\r\n"
    broken = [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nno end",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: text/plain; charset=nobody-knows\r\n\r\n\xff\xfe\x80",
        b"Content-Type: text/plain; charset*=gbk'zh'%ff\r\n\r\nx",
        b"Content-Transfer-Encoding: base64\r\n\r\n====A\r\n\xff",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n\xff",
        b"Subject: =?utf-8?B?A?= =?nope?Q?=E4?=\r\nMessage-ID: <\xff>\r\n\r\nx",
        b"Content-Type: message/rfc822\r\n\r\n" * 2_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5_000,
        b"Content-Type: text/html\r\n\r\n" + b"<script" * 20_000 + b"&#xD800;",
        b"Content-Type: text/plain" + b"; a=b" * 50_000 + b"\r\n\r\nx",
        b"Subject: " + b"=?a?q?" * 50_000 + b"\r\n\r\nx",
    ]
    for number, rest in enumerate(broken):
        yield Hostile("broken mail", "email", head + b"X-Number: %d\r\n" % number + rest, "one output")
