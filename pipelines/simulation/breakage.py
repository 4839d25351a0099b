"""Breaks a document or its bytes as broken senders do: a field gone, another type, a clock unset, a body cut off."""

from __future__ import annotations

import random

from pipelines.simulation.contact import Contact
from pipelines.simulation.wire import ID_FIELD, TEXT_FIELD, TIME_FIELD, serialise

_FUTURE_S, _UNSET_S = 4_070_908_800, 0  # 2099 and 1970


def broken(chance: random.Random, contact: Contact, doc: dict) -> bytes | None:
    """The bytes of a message nobody can read, with the truth written to the contact; None where the form resists."""
    ways = [_no_time, _impossible_time, _cut_off, _wrong_encoding, _no_id, _wrong_type, _backwards]
    return chance.choice(ways)(chance, contact, doc)


def _rejected(contact: Contact, rule: str, how: str) -> None:
    contact.expect, contact.expect_rule, contact.how = "rejected", rule, f"invalid.{how}"
    contact.expect_response = contact.expect_score = None
    contact.personal = ()


def _time_field(contact: Contact, doc: dict) -> str:
    if "opercode" in doc:
        return "time"
    return "answered_at" if doc.get("event") == "survey" else TIME_FIELD[contact.channel]


def _no_time(chance: random.Random, contact: Contact, doc: dict) -> bytes:
    del doc[_time_field(contact, doc)]
    _rejected(contact, "field.missing", "no_time")
    return serialise(contact.channel, doc)


def _impossible_time(chance: random.Random, contact: Contact, doc: dict) -> bytes:
    future = chance.random() < 0.5
    if contact.channel == "email":
        written: int | str = f"Fri, 09 Jan {2099 if future else 1970} 08:00:00 +0800"
    else:
        written = _FUTURE_S if future else _UNSET_S
    doc[_time_field(contact, doc)] = written
    _rejected(contact, "time.out_of_range", "year_2099" if future else "year_1970")
    return serialise(contact.channel, doc)


def _cut_off(chance: random.Random, contact: Contact, doc: dict) -> bytes | None:
    if contact.channel == "email":  # a shorter mail is a mail
        return None
    payload = serialise(contact.channel, doc)
    _rejected(contact, "payload.not_xml" if payload[:1] == b"<" else "payload.not_json", "cut_off")
    return payload[: int(len(payload) * chance.uniform(0.6, 0.95))].decode(errors="ignore").encode()


def _wrong_encoding(chance: random.Random, contact: Contact, doc: dict) -> bytes | None:
    payload = serialise(contact.channel, doc)
    if contact.channel == "email" or payload.isascii():
        return None
    try:
        wrong = payload.decode().encode("gbk")
        wrong.decode()
    except UnicodeEncodeError:  # an emoji: GBK has none
        return None
    except UnicodeDecodeError:
        _rejected(contact, "payload.bad_encoding", "gbk")
        return wrong
    return None


def _no_id(chance: random.Random, contact: Contact, doc: dict) -> bytes | None:
    name = ID_FIELD.get(contact.channel)
    if name is None or name not in doc:
        return None
    del doc[name]
    _rejected(contact, "field.missing", "no_id")
    return serialise(contact.channel, doc)


def _wrong_type(chance: random.Random, contact: Contact, doc: dict) -> bytes | None:
    name = TEXT_FIELD.get(contact.channel)
    if name is None or doc.get(name) is None:
        return None
    doc[name] = [1, 2]
    _rejected(contact, "field.wrong_type", "wrong_type")
    return serialise(contact.channel, doc)


def _backwards(chance: random.Random, contact: Contact, doc: dict) -> bytes | None:
    """The answer is dated an hour before the question."""
    if contact.channel not in ("web_chat", "app") or contact.asked_us is None or contact.replied_us is None:
        return None
    if contact.channel == "web_chat":
        doc["asked_at"], doc["replied_at"] = contact.replied_us // 1000 + 3_600_000, contact.asked_us // 1000
    else:
        doc["service"] |= {"asked_at": contact.replied_us // 1000 + 3_600_000, "replied_at": contact.asked_us // 1000}
    _rejected(contact, "time.answered_before_asked", "backwards")
    return serialise(contact.channel, doc)
