"""Rows of silver as the records of small worlds (tests/unit/identity/worlds.py) would leave them."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

from pipelines import contracts
from pipelines.privacy.tokens import PREFIXES
from tests.unit.identity.test_resolve import TYPES
from tests.unit.identity.worlds import Plan
from tests.unit.io.lake import AT, interaction

PROVISIONAL = contracts.policy("identity")["provisional"]
TEXTS = ["请问怎么退货？", "电子发票怎么开？", "会员积分怎么用？"]


def token(world: int, spelt: str) -> str:
    """A world's token: the first 24 of its hex digits name whom nobody knows, so they differ."""
    kind = PREFIXES[TYPES[spelt[0]]]
    return f"{kind}1_{world:08x}{ord(spelt[0]):04x}{int(spelt[1]):012x}00000000"


class Silver:
    """Rows by table: what a CRM tells is a record with orders, everybody else has written and rated."""

    def __init__(self):
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._nth = 0

    def add(self, table: str, world: int, tokens: tuple[str, ...], minutes: int, **columns: Any) -> None:
        self._nth += 1
        at = AT + timedelta(days=world, minutes=minutes)
        held = {f"{TYPES[spelt[0]]}_token": token(world, spelt) for spelt in tokens}
        known = {f.name for f in contracts.table(table).fields}
        # As the stream leaves it that knows none of them yet: under the provisional name of the best identifier.
        best = next(held[f"{kind}_token"] for kind in PROVISIONAL if f"{kind}_token" in held)
        who = {"identity_status": "provisional", "customer_id": f"p_{best[-32:-8]}"}
        row = interaction(self._nth, received_at=at, **who, **columns)
        self.rows[table].append({k: v for k, v in (row | held).items() if k in known})

    def of_world(self, world: int, plan: Plan) -> None:
        for n, (source, tokens) in enumerate(plan.records):
            if source == "crm":
                self._of_register(world, n, tokens)
                continue
            for m in range(n % 3 + 1):
                self.add("silver.interactions", world, tokens, 60 * n + 7 * m, channel="app", text=TEXTS[(n + m) % 3],
                         session_id=None if n % 2 else f"s{world}-{n}", source_message_id=f"m{world}-{n}-{m}",
                         response_time_corrected_s=float(m), response_time_verdict="normal",
                         outcome="solved" if m else None)  # fmt: skip
            self.add("silver.feedback", world, tokens, 60 * n + 30, channel="app", kind="feedback",
                     score_corrected=float(n % 5 + 1), score_scale_max=5.0)  # fmt: skip
        for n, spelt in enumerate(sorted({t.rstrip("?") for _, tokens in plan.records for t in tokens})):
            self.add("silver.interactions", world, (spelt,), 600 + 40 * n, channel="wechat", text=TEXTS[n % 3],
                     kind="complaint" if n % 4 == 3 else "message")  # fmt: skip

    def _of_register(self, world: int, n: int, tokens: tuple[str, ...]) -> None:
        at = AT + timedelta(days=world, minutes=n)
        about = {"region": ["上海", "杭州", None][n % 3], "birth_year": 1960 + 7 * n, "consent_marketing": bool(n % 2)}
        self.add("silver.customers", world, tokens, n, channel="crm", record_key=f"crm/{world}-{n}", updated_at=at,
                 crm_status="active", phone_verified=True, registered_at=at, **about)  # fmt: skip
        paid = {"order_status": "paid", "currency": "CNY", "refunded_minor": 0, "ordered_at": at, "paid_at": at}
        for m, spelt in enumerate(tokens):
            amount = 100 * (world + 1) + 10 * n + m
            self.add("silver.orders", world, (spelt,), 90 * n + m, channel="orders", order_id=f"o{world}-{n}-{m}",
                     amount_minor=amount, updated_at=at, **paid)  # fmt: skip
