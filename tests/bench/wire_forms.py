"""Messages in wire form for the hard cases: website chat, app, social media and complaint sites."""

from __future__ import annotations

import json
import random

Message = tuple[str, bytes, int]  # topic, payload, received_us


class Wire:
    """Makes messages with IDs of their own and a clock that goes on with each.

    >>> topic, payload, received_us = Wire(random.Random(1), prefix="x", start_us=1_767_916_800_000_000).turn("嗯")
    >>> topic, json.loads(payload)["text"]
    ('raw.web_chat', '嗯')
    """

    def __init__(self, rnd: random.Random, *, prefix: str, start_us: int):
        self._rnd, self._prefix, self.clock_us, self._number = rnd, prefix, start_us, 0

    def new_id(self, kind: str) -> str:
        """An ID nobody had before."""
        self._number += 1
        return f"{self._prefix}-{kind}{self._number}"

    def new_person(self) -> str:
        """A phone number that only one person has."""
        self._number += 1
        return f"17{self._rnd.randint(0, 9)}{self._rnd.randint(0, 999):03d}{self._number:05d}"

    def turn(self, text: str, *, who: str | None = None, later_us: int = 0) -> Message:
        """A customer's turn in the website chat."""
        fields = {"message_id": self.new_id("m"), "sender": "visitor", "visitor_id": who or self.new_id("v")}
        return self._sent("raw.web_chat", {**fields, "session_id": self.new_id("s"), "text": text}, "sent_at", later_us)

    def agent_turn(self, text: str, response_time_s: float, **instants: float) -> Message:
        """An agent's turn with its reported response time."""
        fields = {"message_id": self.new_id("m"), "sender": "agent", "agent_id": "a1", "visitor_id": self.new_id("v")}
        return self._sent("raw.web_chat", {**fields, "text": text, "response_time_s": response_time_s, **instants})

    def consultation(self, text: str, *, media: bool = False) -> Message:
        """A question left in the app."""
        content = {"text": text} | ({"images": [{"url": "https://img.example.com/1.jpg"}]} if media else {})
        return self._app({"event": "consultation", "content": content}, self.new_person())

    def app_message(self, text: str, *, handle_time_s: float) -> Message:
        """An agent's turn in the app."""
        service = {"handle_time_s": handle_time_s}
        return self._app(
            {"event": "message", "sender": "agent", "content": {"text": text}, "service": service}, self.new_person()
        )

    def review(
        self, text: str, *, score: float | None = None, scale: float = 5.0, order_id: str | None = None
    ) -> Message:
        """A review in the app."""
        fields: dict = {"event": "review", "content": {"text": text}, "order_id": order_id}
        if score is not None:
            fields["rating"] = {"score": score, "max": scale}
        return self._app(fields, self.new_person())

    def app_complaint(
        self, text: str, *, who: str | None = None, order_id: str | None = None, later_us: int = 0
    ) -> Message:
        """A complaint in the app."""
        fields = {"event": "complaint", "content": {"text": text}, "order_id": order_id}
        return self._app(fields, who or self.new_person(), later_us)

    def complaint(
        self, text: str, *, who: str | None = None, order_id: str | None = None, later_us: int = 0
    ) -> Message:
        """A case at a complaint site."""
        fields = {"case_no": self.new_id("c"), "content": text, "complainant": {"phone": who or self.new_person()}}
        return self._sent("raw.complaint_site", {**fields, "order_id": order_id}, "created_at", later_us)

    def post(self, text: str) -> Message:
        """A post in social media."""
        fields = {"platform": "weibo", "type": "post", "post_id": self.new_id("p"), "author": {"id": self.new_id("u")}}
        return self._sent("raw.social", {**fields, "text": text}, "created_at")

    def _app(self, fields: dict, phone: str, later_us: int = 0) -> Message:
        user = {"id": f"u{phone}", "phone": phone}
        return self._sent("raw.app", {"event_id": self.new_id("e"), "user": user, **fields}, "ts", later_us, per_s=1000)

    def _sent(self, topic: str, fields: dict, when: str = "sent_at", later_us: int = 0, *, per_s: int = 1) -> Message:
        self.clock_us += self._rnd.randint(1, 5_000_000)
        at_us = self.clock_us + later_us
        fields = {name: value for name, value in fields.items() if value is not None} | {
            when: at_us * per_s // 1_000_000
        }
        return topic, json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace"), at_us + 1_000_000
