"""Hard cases that lie in the record: repeats, broken forms, response times, scores."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator

from tests.bench.case_truth import DUPLICATE, HOUR_US, INVALID, KEPT, Case, Truth
from tests.bench.wire_forms import Wire


def _disguised(rnd: random.Random, text: str) -> str:
    """The same words as a second sending shows them."""

    def full_width(value: str) -> str:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)

    def salted(value: str) -> str:
        return "".join(c + (rnd.choice("\u200b\u200c\u2060\ufeff") if rnd.random() < 0.3 else "") for c in value)

    def spaced(value: str) -> str:
        return "".join(c + (rnd.choice(" \u3000\n") if rnd.random() < 0.2 else "") for c in value)

    def louder(value: str) -> str:
        return value.rstrip("。！!？?，,.") + rnd.choice(["！！！", "。。。", "!!!", "……", "。", ""])

    def commas(value: str) -> str:
        return value.replace("，", ",").replace("。", ".").replace("！", "!")

    for change in rnd.sample([full_width, salted, spaced, louder, commas, str.upper], k=rnd.randint(0, 3)):
        text = change(text)
    return text


def duplicates(rnd: random.Random, wire: Wire, count: int, phrases: dict) -> Iterator[list[Case]]:
    """Stories of two messages of one customer; the second repeats the first or only seems to."""
    texts = phrases["complaints"] + phrases["reviews"]
    for _ in range(count // 4):
        text, who, order = rnd.choice(texts), wire.new_person(), wire.new_id("o")
        first = wire.complaint(text, who=who, order_id=order)
        form = rnd.choice([wire.complaint, wire.app_complaint])
        again = form(_disguised(rnd, text), who=who, order_id=order, later_us=rnd.randint(1, 20) * HOUR_US)
        yield [Case("duplicate", "original", *first, KEPT), Case("duplicate", "copy", *again, DUPLICATE)]
    for _ in range(count // 4):
        yield _near_repeat(rnd, wire, texts)


def _near_repeat(rnd: random.Random, wire: Wire, texts: list[str]) -> list[Case]:
    """Two messages that are no repeat of each other, though they look it."""
    who, order, text, later_us = wire.new_person(), wire.new_id("o"), rnd.choice(texts), rnd.randint(1, 20) * HOUR_US
    same = {"who": who, "order_id": order, "later_us": later_us}
    kind = rnd.randrange(6)
    first = wire.complaint(text, who=who, order_id=order)
    if kind == 0:
        why, second = "somebody else", wire.complaint(text, **{**same, "who": wire.new_person()})
    elif kind == 1:
        why, second = "another order", wire.complaint(text, **{**same, "order_id": wire.new_id("o")})
    elif kind == 2:
        why, second = "after the window", wire.complaint(text, **{**same, "later_us": 30 * HOUR_US})
    elif kind == 3:
        why, second = "another problem", wire.complaint(rnd.choice([t for t in texts if t != text]), **same)
    elif kind == 4:
        word = rnd.choice(["嗯", "好的", "谢谢", "？", "在吗", text])
        first = wire.turn(word, who=who)
        why, second = "honest repeat in a chat", wire.turn(word, who=who, later_us=60_000_000)
    else:
        why, second = "something added", wire.complaint(text + "，请尽快回复", **same)
    return [Case("duplicate", "original", *first, KEPT), Case("duplicate", why, *second, KEPT)]


def invalid_records(rnd: random.Random, wire: Wire, count: int, phrases: dict) -> Iterator[list[Case]]:
    """Half cannot be read or cannot have happened, half are only unusual."""
    for _ in range(count // 2):
        yield [_broken(rnd, wire, phrases)]
    for _ in range(count - count // 2):
        yield [_unusual(rnd, wire, phrases)]


def _encoded(fields: dict) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _broken(rnd: random.Random, wire: Wire, phrases: dict) -> Case:
    topic, payload, received_us = wire.turn(rnd.choice(phrases["questions"]))
    fields, asked = json.loads(payload), wire.clock_us // 1_000_000
    kind = rnd.randrange(7)
    if kind == 0:
        why, payload = "cut off", payload[: rnd.randint(1, len(payload) - 1)]
    elif kind == 1:
        del fields[rnd.choice(["message_id", "sender", "sent_at"])]
        why, payload = "a required field is missing", _encoded(fields)
    elif kind == 2:
        when = rnd.choice(["1970-01-01 00:00:01", "2099-05-05 12:00:00", "0001-01-01 00:00:00", 0, 4_070_908_800])
        why, payload = "out of time", _encoded({**fields, "sent_at": when})
    elif kind == 3:
        why, payload = "GBK where UTF-8 is due", payload.decode().encode("gbk", "replace")
    elif kind == 4:
        why, payload = "NaN is no JSON", payload[:-1] + b',"response_time_s":NaN}'
    elif kind == 5:
        why = "answered before asked"
        topic, payload, received_us = wire.agent_turn(
            "好的", 30, asked_at=asked, replied_at=asked - rnd.randint(60, 90_000)
        )
    else:
        why = "impossible handling time"
        topic, payload, received_us = wire.app_message("好的", handle_time_s=rnd.choice([-1, -3600, 10_000_000]))
    return Case("invalid", why, topic, payload, received_us, INVALID)


def _unusual(rnd: random.Random, wire: Wire, phrases: dict) -> Case:
    kind, text, truth = rnd.randrange(5), rnd.choice(phrases["questions"]), KEPT
    topic, payload, received_us = wire.turn(text)
    if kind == 0:
        why, payload = "escaped Unicode", json.dumps(json.loads(payload)).encode()
    elif kind == 1:
        why, payload = "unknown fields", payload[:-1] + b',"foo":{"bar":[1,2,{"x":null}]},"n":1e3}'
    elif kind == 2:
        why, (topic, payload, received_us) = "a very long text", wire.turn(text * 200)
    elif kind == 3:
        why, payload = "white space around", b"\n  " + payload + b"\r\n"
    else:
        asked = wire.clock_us // 1_000_000
        why, truth = "answered at once", Truth(response_verdict="normal", response_corrected_s=0.0)
        topic, payload, received_us = wire.agent_turn("好的", 0, asked_at=asked, replied_at=asked)
    return Case("invalid", why, topic, payload, received_us, truth)


def response_times(rnd: random.Random, wire: Wire, count: int, phrases: dict) -> Iterator[list[Case]]:
    """Reply times in a chat: log-normal around 45 s; slips of unit, fillers and true extremes among them."""

    def honest_s() -> float:
        return round(min(max(rnd.lognormvariate(math.log(45), 0.9), 1.0), 1800.0), 1)

    def case(why: str, value: float, verdict: str, corrected: float | None, span_s: float | None = None) -> list[Case]:
        asked = wire.clock_us // 1_000_000
        instants = {} if span_s is None else {"asked_at": asked, "replied_at": asked + span_s}
        truth = Truth(response_verdict=verdict, response_corrected_s=corrected)
        return [Case("response_time", why, *wire.agent_turn(rnd.choice(phrases["answers"]), value, **instants), truth)]

    for _ in range(count):
        kind, true_s = rnd.randrange(10), honest_s()
        if kind < 3:
            yield case("honest", true_s, "normal", true_s, true_s if rnd.random() < 0.5 else None)
        elif kind == 3:
            long_s = float(rnd.randint(3 * 3600, 5 * 86400))
            yield case("true extreme", long_s, "extreme_confirmed", long_s, long_s + rnd.randint(-3, 3))
        elif kind == 4:
            yield case("milliseconds, with instants", true_s * 1000, "unit_ms", true_s, round(true_s))
        elif kind == 5:
            # Without instants a slip shows only where it leaves the normal: 5 s as 5,000 may be a slow reply.
            true_s = max(true_s, 12.0)
            yield case("milliseconds, bare", true_s * 1000, "unit_ms", true_s)
        elif kind == 6:
            filler = float(rnd.choice([999_999_999, 2_147_483_647, 99_999_999, 4_294_967_295]))
            yield case("filler", filler, "outlier_high", None)
        elif kind == 7:
            filler = float(rnd.choice([999_999_999, 86_400 * 365, 99_999_999]))
            yield case("filler, with instants", filler, "outlier_high", true_s, true_s)
        elif kind == 8:
            yield case("negative", -float(rnd.randint(1, 100_000)), "impossible", None)
        else:
            long_s = float(rnd.randint(600, 2400))
            yield case("long but ordinary", long_s, "normal", long_s)


def scores(rnd: random.Random, wire: Wire, count: int, phrases: dict) -> Iterator[list[Case]]:
    """Ends of a scale are opinions; outside it there is none."""
    for _ in range(count):
        scale = float(rnd.choice([5, 5, 10, 100]))
        low = 1.0 if scale == 5 else 0.0
        if rnd.random() < 0.5:
            outside = [scale + 1, scale * 10, -1.0, 999.0, low - 1]
            value, verdict, why = rnd.choice(outside), "out_of_scale", "outside"
        else:
            value, verdict, why = rnd.choice([low, scale, rnd.uniform(low, scale)]), "normal", "inside"
        # The text names a problem, so that a low score is no case for review.
        row = wire.review(rnd.choice(phrases["complaints"]), score=value, scale=scale, order_id=wire.new_id("o"))
        yield [Case("score", why, *row, Truth(score_verdict=verdict))]
