"""Simulated traffic: scenes of many customers at once, dirtied, in wire form, with the truth beside each message."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

from pipelines.simulation import breakage
from pipelines.simulation.clock import spread
from pipelines.simulation.contact import MARK, Contact
from pipelines.simulation.conversations import Scenes
from pipelines.simulation.dirt import Dirt
from pipelines.simulation.people import Customer, customer
from pipelines.simulation.truth import MESSAGE_NUMBER_MARK, Truth, truth_id
from pipelines.simulation.wire import DOCUMENT, serialise

ACTIVE_SCENES = 400  # conversations going on at the same time
# Share of scenes per channel and scene; chats have six turns in the mean, so they are most of the messages.
SCENES: list[tuple[str, str, float]] = [
    ("web_chat", "chat", 26),
    ("app", "chat", 15),
    ("wechat", "chat", 12),
    ("mini_program", "chat", 8),
    ("wecom", "chat", 7),
    ("app", "review", 8),
    ("web_chat", "complaint", 2),
    ("app", "complaint", 2),
    ("social", "complaint", 2),
    ("complaint_site", "complaint", 4),
    ("phone", "call", 30),
    ("email", "mail", 5),
    ("social", "post", 12),
    ("live_video", "comment", 30),
    ("sms", "text_message", 14),
    ("store", "visit", 10),
    ("service_center", "visit", 7),
    ("ticket_system", "ticket", 6),
]
CHANNELS = list(dict.fromkeys(channel for channel, _, _ in SCENES))
# What the collector would take as Kafka key, hashed: order holds within a conversation, and no key is personal.
_KEY = {
    "web_chat": "visitor_id",
    "app": "app_user_id",
    "wechat": "openid",
    "mini_program": "mini_openid",
    "wecom": "external_userid",
    "email": "email",
    "social": "social_id",
    "live_video": "live_id",
}


class SimulatedMessage(NamedTuple):
    """One record for Kafka, and what is true of it."""

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int
    headers: list[tuple[str, bytes]]
    truth: Truth


def generate(
    seed: int,
    events: int,
    customers: int,
    start_at: datetime,
    mix: str = "all",
    dirty_share: float = 0.08,
    *,
    span_s: int = 86_400,
    channels: list[str] | None = None,
) -> Iterator[SimulatedMessage]:
    """Exactly ``events`` messages, the same for the same arguments.

    ``mix`` is "all" (14 channels) or "flat_json" (website chat only, about 350 bytes a message). ``start_at`` (aware)
    and ``span_s`` say when the contacts happened, by the sources' clocks; ``timestamp_ms`` is a second later.
    """
    if mix not in ("all", "flat_json"):
        raise ValueError(f'mix must be "all" or "flat_json", not {mix!r}')
    if start_at.tzinfo is None:
        raise ValueError("start_at needs a zone: a bare time would mean another instant on another machine")
    wanted = ["web_chat"] if mix == "flat_json" else channels or CHANNELS
    scenes = [s for s in SCENES if s[0] in wanted and (mix == "all" or s[1] == "chat")]
    if not scenes:
        raise ValueError(f"no scene for {channels}; channels are {', '.join(CHANNELS)}")
    return _Traffic(seed, events, customers, start_at, dirty_share, span_s, scenes).messages()


class _Traffic:
    def __init__(
        self, seed: int, events: int, customers: int, start_at: datetime, dirty: float, span_s: int, scenes: list
    ) -> None:
        self._chance = random.Random(f"{seed}/{events}/{customers}")  # noqa: S311
        self._seed, self._events, self._customers, self._dirty_share = seed, events, customers, dirty
        self._start_us, self._span_us = int(start_at.timestamp() * 1e6), span_s * 1_000_000
        self._scenes, self._weights = scenes, [weight for _, _, weight in scenes]
        self._make = Scenes(self._chance)
        self._dirt = Dirt(self._chance, dirty)
        self._numbered = 0
        self._sent = 0

    def messages(self) -> Iterator[SimulatedMessage]:
        active: list[deque[Contact]] = []
        chance = self._chance
        while self._sent < self._events:
            if len(active) < ACTIVE_SCENES:
                active.append(self._scene())
            place = chance.randrange(len(active))
            contact = active[place].popleft()
            if not active[place]:
                active[place] = active[-1]
                active.pop()
            for message in self._copies(contact):
                self._sent += 1
                yield message
                if self._sent == self._events:
                    return

    def _scene(self) -> deque[Contact]:
        chance = self._chance
        channel, scene, _ = chance.choices(self._scenes, self._weights)[0]
        # A third of the contacts come from the tenth of the customers who call often.
        often = chance.random() < 0.33
        number = chance.randrange(max(1, self._customers // 10) if often else self._customers)
        at_us = spread(self._sent / self._events, self._start_us, self._span_us)
        contacts = getattr(self._make, scene)(channel, customer(self._seed, number), at_us)
        played: deque[Contact] = deque()
        repeats: list[Contact] = []
        for contact in contacts:
            self._dirt.apply(contact)
            played.append(contact)
            if chance.random() < self._dirty_share and (again := self._dirt.repeat(contact, self._make.new("s"))):
                contact.extra["group"] = again.extra["group"] = contact.session
                repeats.append(again)
        played.extend(repeats)
        return played

    def _copies(self, contact: Contact) -> list[SimulatedMessage]:
        chance = self._chance
        message = self._message(contact)
        if contact.expect != "kept" or chance.random() >= self._dirty_share / 4:
            return [message]
        # The platform got no answer in time and sends the same bytes again: right away, up to three times.
        retries = [message]
        for copy in range(1, chance.choice((2, 2, 2, 3, 4))):
            truth = message.truth._replace(
                copy=copy, expect="duplicate", rule="event_id", how="duplicate.retry", group=None
            )
            retries.append(message._replace(truth=truth))
        return retries

    def _message(self, contact: Contact) -> SimulatedMessage:
        channel, person = contact.channel, contact.person
        doc = DOCUMENT[channel](contact, self._message_id(contact))
        payload = None
        if contact.how == "clean" and "group" not in contact.extra and self._chance.random() < self._dirty_share / 4:
            payload = breakage.broken(self._chance, contact, doc)
        if payload is None:
            payload = serialise(channel, doc)
        key = contact.session if channel == "ticket_system" else getattr(person, _KEY.get(channel, "phone"))
        return SimulatedMessage(
            f"raw.{channel}",
            blake2b(key.encode(), digest_size=8).hexdigest().encode(),
            payload,
            contact.at_us // 1000 + 1000,
            [("account", b"help@example.com")] if channel == "email" else [],
            _truth(contact, person, payload),
        )

    def _message_id(self, contact: Contact) -> str | int:
        self._numbered += 1
        if contact.channel in ("wechat", "mini_program") and contact.role == "customer":
            return int(f"{MESSAGE_NUMBER_MARK}{self._numbered:09d}")
        if contact.channel == "email" and contact.role == "customer":
            return contact.session
        return f"{MARK}-{self._numbered:08d}"


def _truth(contact: Contact, person: Customer, payload: bytes) -> Truth:
    known = zip(
        (person.in_crm[0] and person.phone_verified, person.in_crm[1], person.in_crm[2]),
        (person.phone, person.unionid, person.member_number),
        strict=True,
    )
    return Truth(
        truth_id=truth_id(payload),
        copy=0,
        topic=f"raw.{contact.channel}",
        expect=contact.expect,
        rule=contact.expect_rule,
        how=contact.how,
        kind=contact.kind,
        sender_role=contact.role,
        customer_no=person.customer_no,
        linkable=any(held and identifier.encode() in payload for held, identifier in known),
        response_time_verdict=contact.expect_response,
        score_verdict=contact.expect_score,
        personal=",".join(contact.personal) or None,
        group=contact.extra.get("group"),
    )
