"""Scenes of customer service as lists of contacts, before any channel's wire form: who said what, when, to whom."""

from __future__ import annotations

import random

from pipelines.simulation import phrases
from pipelines.simulation.contact import HOUR, MARK, Contact, S
from pipelines.simulation.people import Customer
from pipelines.simulation.questions import ANSWERS, QUESTIONS

# Median response seconds per channel; true values spread by e^0.6 around it, cut at two spreads.
MEDIAN_RESPONSE_S = {
    "web_chat": 40,
    "app": 45,
    "phone": 20,
    "store": 300,
    "service_center": 900,
    "complaint_site": 432_000,
    "ticket_system": 50_000,
}
_TOPICS = list(QUESTIONS)
_TOPIC_WEIGHTS = [18, 12, 12, 8, 9, 8, 6, 7, 6, 8, 7, 6]


def fill(chance: random.Random, template: str, order: str = "") -> str:
    """A template with its slots filled."""
    if "{" not in template:
        return template
    return template.format(order=order, **{name: chance.choice(words) for name, words in phrases.SLOTS.items()})


def question(chance: random.Random) -> tuple[str, str]:
    """A question in one of its wordings, and its topic; few topics get most of the traffic, as in life."""
    topic = chance.choices(_TOPICS, _TOPIC_WEIGHTS)[0]
    asked = chance.choice(QUESTIONS[topic])
    return chance.choice(phrases.OPENINGS) + fill(chance, chance.choice(asked)), topic


def response_seconds(chance: random.Random, channel: str) -> float:
    """A normal response time of the channel."""
    spread = max(-1.2, min(1.2, chance.gauss(0, 0.6)))
    return round(MEDIAN_RESPONSE_S[channel] * 2.718281828**spread, 1)


class Scenes:
    """Makes scenes from one source of chance; numbers sessions and orders so that each is used once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._sessions = 0

    def new(self, prefix: str) -> str:
        """An ID that no other scene has; it carries the mark, so a pool sent once more gets others."""
        self._sessions += 1
        return f"{prefix}-{MARK}-{self._sessions:07d}"

    def chat(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A conversation: question, answer, some back and forth, on two channels a rating at the end."""
        chance, session, order = self._chance, self.new("s"), self.new("D")
        agent = f"agent{chance.randint(1, 60):03d}"
        asked, topic = question(chance)
        turns = [Contact(channel, "message", "customer", person, session, at_us, asked, order)]
        if channel in ("web_chat", "app") and chance.random() < 0.3:
            at_us += S
            turns.append(Contact(channel, "message", "bot", person, session, at_us, chance.choice(phrases.BOT_LINES)))
        for _ in range(chance.choice((1, 1, 2, 2, 3))):
            answer = chance.choice(ANSWERS[topic]) if len(turns) < 3 else chance.choice(phrases.AGENT_FILLERS)
            turns.append(self._answer(channel, person, session, at_us, fill(chance, answer), order, agent))
            at_us = turns[-1].at_us + chance.randint(4, 60) * S
            said = chance.choice(phrases.FOLLOW_UPS)
            turns.append(Contact(channel, "message", "customer", person, session, at_us, fill(chance, said, order)))
            if said == "嗯" and chance.random() < 0.5:  # an honest repeat: the same word again, a moment later
                at_us += 2 * S
                again = Contact(channel, "message", "customer", person, session, at_us, said)
                again.how = "honest.repeat"
                turns.append(again)
        at_us += chance.randint(5, 40) * S
        turns.append(Contact(channel, "message", "customer", person, session, at_us, chance.choice(phrases.CLOSINGS)))
        if channel in ("web_chat", "app") and chance.random() < 0.35:
            turns.append(self._rating(channel, person, session, at_us + 5 * S, order, agent))
        return turns

    def _answer(
        self, channel: str, person: Customer, session: str, asked_us: int, text: str, order: str, agent: str
    ) -> Contact:
        chance = self._chance
        reported = channel in ("web_chat", "app")
        wait_s = response_seconds(chance, channel) if reported else chance.randint(5, 120)
        at_us = asked_us + int(wait_s * S)
        turn = Contact(channel, "message", "agent", person, session, at_us, text, order, agent)
        if reported:
            turn.response_s, turn.expect_response = wait_s, "normal"
            if chance.random() < 0.6:
                turn.asked_us, turn.replied_us = asked_us, at_us
        return turn

    def _rating(
        self, channel: str, person: Customer, session: str, at_us: int, order: str, agent: str | None
    ) -> Contact:
        score = self._chance.choices((5, 4, 3, 2, 1), (55, 25, 10, 5, 5))[0]
        words = phrases.GOOD_REVIEWS if score >= 3 else phrases.BAD_REVIEWS
        text = fill(self._chance, self._chance.choice(words))
        rating = Contact(channel, "feedback", "customer", person, session, at_us, text, order, agent)
        rating.score, rating.scale, rating.expect_score = float(score), 5.0, "normal"
        return rating

    def review(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A review outside any conversation."""
        return [self._rating(channel, person, self.new("s"), at_us, self.new("D"), None)]

    def complaint(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A complaint that names its matter; on complaint sites half of the cases have been answered."""
        chance, order = self._chance, self.new("D")
        text = fill(chance, chance.choice(phrases.COMPLAINTS))
        case = Contact(channel, "complaint", "customer", person, self.new("case"), at_us, text, order)
        if channel == "complaint_site" and chance.random() < 0.5:
            case.response_s, case.expect_response = response_seconds(chance, channel), "normal"
            # A case is sent when it has been answered: it happened that long ago.
            case.at_us = case.asked_us = at_us - int(case.response_s * S)
            case.replied_us = at_us
        return [case]

    def call(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A call: answered with a transcript, or given up in the queue; sometimes a survey afterwards."""
        chance, session = self._chance, self.new("call")
        asked, topic = question(chance)
        wait_s = response_seconds(chance, "phone")
        call = Contact(channel, "consultation", "customer", person, session, at_us, asked, self.new("D"))
        call.agent = f"agent{chance.randint(1, 60):03d}"
        call.response_s, call.expect_response = wait_s, "normal"
        if chance.random() < 0.12:
            call.kind, call.text, call.agent, call.order = "record", None, None, None
            return [call]
        call.extra["answer"] = fill(chance, chance.choice(ANSWERS[topic]))
        call.handle_s = float(chance.randint(60, 600))
        call.asked_us, call.replied_us = at_us, at_us + int(wait_s * S)
        if chance.random() > 0.3:
            return [call]
        survey = Contact(
            channel, "feedback", "customer", person, session, call.replied_us + 600 * S, None, None, call.agent
        )
        survey.score, survey.scale, survey.expect_score = float(chance.choice((5, 5, 4, 4, 3, 2, 1))), 5.0, "normal"
        return [call, survey]

    def mail(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A mail, and often the answer."""
        chance, session = self._chance, self.new("m")
        asked, topic = question(chance)
        first = Contact(channel, "consultation", "customer", person, session, at_us, asked)
        if chance.random() < 0.4:
            return [first]
        answer = fill(chance, chance.choice(ANSWERS[topic]))
        return [first, Contact(channel, "message", "agent", person, session, at_us + 3 * HOUR, answer)]

    def post(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A public post, sometimes edited or taken back later."""
        asked, _ = question(self._chance)
        post = Contact(channel, "consultation", "customer", person, self.new("p"), at_us, "@品牌客服 " + asked)
        if self._chance.random() < 0.85:
            return [post]
        later = Contact(channel, "consultation", "customer", person, post.session, at_us + HOUR, post.text + "，急")
        later.extra["action"] = "edit"
        if self._chance.random() < 0.4:
            later.extra["action"], later.text, later.kind = "delete", None, "record"
        return [post, later]

    def comment(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A comment under a live video."""
        said = fill(self._chance, self._chance.choice(phrases.LIVE_COMMENTS))
        room = f"live{at_us // HOUR % 50:03d}"
        return [Contact(channel, "message", "customer", person, room, at_us, said)]

    def text_message(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A message sent, its delivery report, sometimes the answer to its survey."""
        chance, session, order = self._chance, self.new("sv"), self.new("D")
        sent = Contact(
            channel, "message", "system", person, session, at_us, fill(chance, chance.choice(phrases.SMS_SENT))
        )
        report = Contact(channel, "record", "system", person, session, at_us + 3 * S, None)
        scene = [sent, report]
        if chance.random() < 0.4:
            answer = Contact(channel, "feedback", "customer", person, session, at_us + 120 * S, "", order)
            answer.score, answer.scale, answer.expect_score = float(chance.choice((5, 5, 4, 3, 1))), 5.0, "normal"
            answer.text = f"{answer.score:.0f}"
            scene.append(answer)
        return scene

    def visit(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """A store visit or a service order."""
        chance = self._chance
        asked, _ = question(chance)
        visit = Contact(channel, "consultation", "customer", person, self.new("r"), at_us, asked, self.new("D"))
        visit.agent = f"staff{chance.randint(1, 40):02d}"
        minutes = max(1, round(response_seconds(chance, channel) / 60))
        visit.response_s, visit.expect_response = 60.0 * minutes, "normal"
        visit.handle_s = 60.0 * chance.randint(2, 45)
        if chance.random() < 0.5:
            visit.score, visit.scale, visit.expect_score = float(chance.choice((5, 5, 4, 3, 2))), 5.0, "normal"
        return [visit]

    def ticket(self, channel: str, person: Customer, at_us: int) -> list[Contact]:
        """The life of a ticket: opened, taken, resolved, closed; some are opened again."""
        chance, session = self._chance, self.new("INC")
        asked, _ = question(chance)
        states = ["New", "Active", "Resolved", "Closed"]
        if chance.random() < 0.05:
            states = ["New", "Active", "Resolved", "Active", "Resolved", "Closed"]
        wait_s = response_seconds(chance, channel)
        priority = chance.choice(("1 - Critical", "2 - High", "3 - Moderate", "3 - Moderate", "4 - Low"))
        events = []
        # A life takes days: it ends now and began then, so that no event lies in the future.
        times = [at_us - int(wait_s * S) - (len(states) - 2 - n) * 5 * HOUR for n in range(len(states) - 1)] + [at_us]
        for number, (state, happened_us) in enumerate(zip(states, times, strict=True)):
            event = Contact(
                channel, "ticket_event", "agent" if number else "system", person, session, happened_us, None
            )
            event.agent = f"agent{chance.randint(1, 60):03d}" if number else None
            event.text = asked if number == 0 else None
            event.extra = {"state": state, "number": number, "priority": priority, "opened_us": times[0]}
            if state == "Closed":
                event.response_s, event.expect_response = wait_s, "normal"
                event.asked_us, event.replied_us = times[0], times[0] + int(wait_s * S)
            events.append(event)
        return events
