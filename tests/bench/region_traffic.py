"""Messages of two regions, each with a mark of its own, sent where they belong and, on purpose, where they do not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import Producer

HOME, FURTHER = "cn", "sg"
# What the policy of the proof declares: one account on each of three channels, of two forms and a mail box.
ACCOUNTS = {"web_chat": ["shop_sg"], "app": ["shop_sg"], "email": ["help@sg.example.com"]}
POLICY = {"home": HOME, "further": {FURTHER: {"accounts": ACCOUNTS}}}
# A customer of both regions: the number must become two tokens that have nothing in common.
PHONE, SPELT = "13912345678", "139 1234 5678"


@dataclass(frozen=True)
class Sent:
    """One message: the root it came into, the region its account belongs to, and what only it says."""

    root: str
    owner: str
    channel: str
    account: str | None
    mark: str
    value: bytes

    @property
    def at_home(self) -> bool:
        """True where it came into the root of its own region."""
        return self.root == self.owner


def prefix(root: str, *, at_home: bool | None = None) -> str:
    """What the marks of all messages begin with that came into one root; of those at home there, or of the others."""
    return f"zqvmark{root}" + ("" if at_home is None else "r" if at_home else "w")


def message(root: str, owner: str, channel: str, account: str | None, number: int, now_s: int) -> Sent:
    """A customer's question with its mark, in the form of its channel."""
    mark = f"{prefix(root, at_home=root == owner)}{''.join(chr(ord('a') + int(digit)) for digit in f'{number:04}')}"
    said = f"我的包裹 {mark} 到哪里了，电话 {SPELT}"
    if channel == "web_chat":
        form = {"message_id": mark, "session_id": f"s{mark}", "visitor_id": f"v{mark}", "sender": "visitor",
                "sent_at": now_s, "text": said}  # fmt: skip
    elif channel == "app":
        user, content = {"id": f"u{mark}", "phone": PHONE}, {"text": said}
        form = {"event_id": mark, "event": "message", "session_id": f"s{mark}", "ts": now_s * 1000,
                "sender": "customer", "user": user, "content": content}  # fmt: skip
    else:
        raise ValueError(f"no form for {channel}")
    return Sent(root, owner, channel, account, mark, json.dumps(form, ensure_ascii=False).encode())


# (root, owner, channel, account): None is no header at all.
RIGHT = [
    (HOME, HOME, "web_chat", "default"),
    (HOME, HOME, "app", "default"),
    (FURTHER, FURTHER, "web_chat", "shop_sg"),
    (FURTHER, FURTHER, "app", "shop_sg"),
]
WRONG = [
    (HOME, FURTHER, "web_chat", "shop_sg"),  # the right account in the wrong root, both ways
    (HOME, FURTHER, "app", "shop_sg"),
    (FURTHER, HOME, "web_chat", "default"),
    (FURTHER, HOME, "app", "default"),
    (FURTHER, HOME, "web_chat", None),  # no header is the account `default`
    (FURTHER, HOME, "web_chat", "nobody"),  # an account that nobody declared is the home region's …
    (FURTHER, HOME, "app", "SHOP_SG"),  # … and so is a misspelt one
]
# Not named, in the home region's root: there they may be.
ALSO_RIGHT = [(HOME, HOME, "web_chat", "nobody"), (HOME, HOME, "web_chat", None)]


def messages(kinds: Iterable[tuple], each: int, now_s: int, first: int) -> list[Sent]:
    """``each`` messages of every kind, in turn, so that right and wrong ones share their batches."""
    kinds = list(kinds)
    return [
        message(*kind, first + turn * len(kinds) + n, now_s) for turn in range(each) for n, kind in enumerate(kinds)
    ]


def produce(bootstrap: str, sent: Iterable[Sent]) -> None:
    """Past the gateway, as a wrongly configured sender or an operator's script would."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4"})
    for one in sent:
        headers = [] if one.account is None else [("account", one.account.encode())]
        producer.produce(f"raw.{one.channel}", one.value, headers=headers)
    if left := producer.flush(30):
        raise TimeoutError(f"{left} records were not acknowledged")
