"""A process of the look-up service for tests, and people whom it finds in different ways."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime

import httpx

from pipelines import contracts
from pipelines.identity.evidence import frame
from pipelines.identity.resolve import DAY_US, Decision
from pipelines.io.identity_store import Author, IdentityStore
from pipelines.io.mariadb import connect
from pipelines.lookup import agent_keys
from pipelines.privacy.tokens import Tokeniser

LIMIT_S = 60
ROLES = list(contracts.policy("roles")["roles"])
AUTHOR = Author("li.hua", "one person, two registrations")
PHONES = {n: f"1381234567{n}" for n in range(10)}
OPENID = "oAbC-1234567890_xyz"


def claim(record: str, token: str, kind: str, start_days: int, end_days: int | None = None) -> dict:
    source = "crm" if record.startswith("crm/") else "wechat"
    return {"record_key": record, "source": source, "token": token, "token_type": kind, "attested": True,
            "first_seen_at": start_days * DAY_US,
            "last_seen_at": None if end_days is None else end_days * DAY_US, "sightings": 1}  # fmt: skip


def world(stack, tokens: Tokeniser) -> None:
    """01 with an openid, 02 merged into 01, 03 and 04 on one number, one that went from 05 to 06, 07 unpublished."""
    phone = {n: tokens.token(number, "phone") for n, number in PHONES.items()}
    union, openid = tokens.token("u1", "unionid"), tokens.token(OPENID, "openid")
    store = IdentityStore(connect(stack.database_url), contracts.policy("identity"))
    evidence = frame([
        claim("crm/01", phone[1], "phone", 1), claim("crm/01", union, "unionid", 1),
        claim("s/11", union, "unionid", 2, 2), claim("s/11", openid, "openid", 2, 2),
        claim("crm/02", phone[2], "phone", 1),
        claim("crm/03", phone[3], "phone", 1), claim("crm/04", phone[3], "phone", 1),
        claim("crm/05", phone[5], "phone", 1, 10), claim("crm/06", phone[5], "phone", 200),
        claim("crm/07", phone[7], "phone", 1),
        claim("crm/08", phone[8], "phone", 1, 30),  # given up, and nobody has shown it since
    ])  # fmt: skip
    store.learn(evidence, at_us=300 * DAY_US, author=AUTHOR)
    store.decide([Decision("must", "crm/01", "crm/02")], at_us=301 * DAY_US, author=AUTHOR)


class Service:
    """A process of the service, with keys for three people."""

    def __init__(self, stack, folder):
        self.log = folder / "lookup.log"
        now = datetime.now(UTC)
        roles = {"li.na": "agent", "wang": "analyst", "officer": "privacy_officer"}
        self.keys = {n: agent_keys.add(stack.agent_keys_file, n, role, ROLES, now=now) for n, role in roles.items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobs.services.customer_lookup"], stdout=log, stderr=log
            )
        self.http = httpx.Client(base_url=stack.lookup_url, timeout=30)
        deadline = time.monotonic() + LIMIT_S
        while not self._healthy():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def _healthy(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, customer: str, who: str = "li.na") -> httpx.Response:
        return self.http.get(f"/customers/{customer}", headers={"authorization": f"Bearer {self.keys[who]}"})

    def search(self, body: dict, who: str = "li.na") -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[who]}"}
        return self.http.post("/customers/search", json=body, headers=headers)
