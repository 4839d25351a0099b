"""Dirt with truth: what real sources do to contacts, and the verdict that each deserves.

The expected verdicts follow from how a row was made, never from the rules that judge it.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from pipelines.simulation import phrases
from pipelines.simulation.contact import HOUR, Contact, S
from pipelines.simulation.conversations import MEDIAN_RESPONSE_S

_TALKING = frozenset({"message", "consultation", "complaint"})
# Channels whose form always carries words beside the text (subject, transcript frame), so that a blank one is none.
_NEVER_BLANK = frozenset({"phone", "complaint_site", "ticket_system", "sms"})
# Without instants only these are far enough from milliseconds: 1,000 times their normal is no normal of theirs.
_CHATTY = frozenset({"web_chat", "app", "phone"})
_HOLD_REPEATS = frozenset({"web_chat", "app", "social", "complaint_site"})
_NUMBERS = ("我的电话是{phone}", "打这个号码{spaced}联系我", "身份证号{national_id}", "手机{dashed}，尽快回电")


class Dirt:
    """Dirties contacts from one source of chance."""

    def __init__(self, chance: random.Random, share: float) -> None:
        self._chance = chance
        self._share = share
        self._kinds: list[tuple[float, Callable[[Contact], bool]]] = [
            (0.30, self._blank),
            (0.30, self._response),
            (0.15, self._score),
        ]

    def apply(self, contact: Contact) -> None:
        """Maybe dirty this contact, in at most one way; numbers in the text come on top."""
        chance = self._chance
        if contact.role == "customer" and contact.text and chance.random() < 0.03:
            self._number(contact)
        if contact.kind == "complaint" and chance.random() < 4 * self._share:
            self._unclear(contact)
            return
        if chance.random() < self._share:
            for weight, dirty in self._kinds:
                if chance.random() < weight and dirty(contact):
                    return

    def _number(self, contact: Contact) -> None:
        """A phone or national ID number in what the customer writes; nobody's: 139 0000 xxxx, births of 1900."""
        if contact.channel in ("live_video", "sms"):  # shouted to a room; one digit in answer to a survey
            return
        tail = f"{self._chance.randint(1, 9999):04d}"
        numbers = {
            "phone": f"1390000{tail}",
            "spaced": f"139 0000 {tail}",
            "dashed": f"139-0000-{tail}",
            "national_id": contact.person.national_id,
        }
        template = self._chance.choice(_NUMBERS)
        contact.text = f"{contact.text}，{template.format(**numbers)}"
        contact.personal = (contact.person.national_id if "national_id" in template else f"1390000{tail}",)

    def _blank(self, contact: Contact) -> bool:
        if contact.role != "customer" or contact.kind not in _TALKING or contact.channel in _NEVER_BLANK:
            return False
        how = self._chance.choice(list(phrases.BLANKS))
        honest = how in phrases.CONTACT_ONLY_BLANKS and contact.kind == "message"
        contact.text = self._chance.choice(phrases.BLANKS[how])
        contact.handle_s = contact.score = contact.expect_score = None
        contact.extra["no_subject"] = True
        contact.personal = ()
        contact.how = "honest.chase_up" if honest else how
        if not honest:
            contact.expect, contact.expect_rule = "rejected", "text.blank"
        return True

    def _unclear(self, contact: Contact) -> None:
        chance = self._chance
        if chance.random() < 0.35:
            contact.text, contact.how = chance.choice(phrases.PRAISING_COMPLAINTS), "unclear.praise"
        else:
            contact.text = chance.choice(phrases.UNCLEAR_CORES) + chance.choice(phrases.UNCLEAR_TAILS)
            contact.how = "unclear.vague"
        contact.extra["title"] = None
        contact.personal = ()
        contact.expect, contact.expect_rule = "review", "complaint"

    def _response(self, contact: Contact) -> bool:
        if contact.response_s is None:
            return False
        chance, true_s, timed = self._chance, contact.response_s, contact.asked_us is not None
        how = chance.choice(("unit_ms", "negative", "extreme", "high"))
        if how == "unit_ms" and (timed or contact.channel in _CHATTY):
            contact.response_s, contact.expect_response = true_s * 1000, "unit_ms"
        elif how == "negative":
            contact.response_s, contact.expect_response = -true_s, "impossible"
        elif how == "extreme" and contact.channel in ("web_chat", "app") and timed:
            # Nobody answered for hours, and the source's own instants say so: true, and to be kept as it is.
            asked_us = contact.replied_us - chance.randint(4, 20) * HOUR
            contact.asked_us, contact.response_s = asked_us, (contact.replied_us - asked_us) / S
            contact.expect_response = "extreme_confirmed"
        elif how == "high" and timed and contact.channel != "ticket_system":  # tickets may honestly take years
            contact.response_s = float(round(MEDIAN_RESPONSE_S[contact.channel] * chance.randint(4_000, 9_000)))
            contact.expect_response = "outlier_high"
        elif how == "high" and contact.channel in _CHATTY:
            contact.response_s, contact.expect_response = 99_999_999.0, "outlier_high"  # a form's "no value"
        else:
            return False
        contact.how = f"response.{how}"
        return True

    def _score(self, contact: Contact) -> bool:
        if contact.score is None:
            return False
        contact.score = self._chance.choice((50.0, 100.0, 55.0, 500.0))
        contact.expect_score, contact.how = "out_of_scale", "score.off_scale"
        return True

    def repeat(self, contact: Contact, session: str) -> Contact | None:
        """The same feedback sent again under a new ID, as typed anew: within a day it says nothing new."""
        if contact.kind not in ("feedback", "complaint") or contact.channel not in _HOLD_REPEATS:
            return None
        if contact.expect != "kept" or not contact.text or not contact.order or len(contact.text) < 6:
            return None
        text = contact.text
        written = self._chance.choice(
            (
                text,
                text,
                f"{text}。",
                f" {text} ",
                text.replace("，", ","),
                f"{text}\u200b",
                text.replace("，", "，\u3000"),
            )
        )
        again = dataclasses.replace(contact, session=session, text=written, extra=dict(contact.extra))
        again.extra.setdefault("title", text[:12])
        again.at_us += self._chance.randint(1, 240) * 60 * S
        again.expect, again.expect_rule, again.how = "duplicate", "feedback_window", "duplicate.feedback"
        again.response_s = again.expect_response = again.asked_us = again.replied_us = None
        return again
