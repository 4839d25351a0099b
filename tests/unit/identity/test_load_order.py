"""Loading a CRM file: the values go into the vault before the identifiers count as known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jobs.ops import identity
from pipelines.io.identity_store import Changes, Outcome
from pipelines.privacy.keys import MasterKey


class Recorder:
    """Stands in for the state on the server: says when it has taken evidence in."""

    def __init__(self, done: list[str]):
        self._done = done

    def learn(self, claims, *, before_commit=lambda tokens: None, dry_run=False, **_):
        tokens = frozenset(claims["token"])
        if not dry_run:
            before_commit(tokens)
            self._done.append("committed")
        return Outcome(claims.height, tokens, changes=Changes())

    def drain(self, publish):
        self._done.append("sent")


@pytest.mark.parametrize(("dry_run", "expected"), [(False, ["identity.vault", "committed", "sent"]), (True, [])])
def test_values_are_kept_before_the_commit_and_a_dry_run_keeps_none(monkeypatch, tmp_path, dry_run, expected):
    done: list[str] = []
    monkeypatch.setattr(identity, "IdentityStore", lambda *_: Recorder(done))
    monkeypatch.setattr(identity, "connect", lambda _: None)
    monkeypatch.setattr(identity, "publish", lambda _, topic, records: done.append(topic))
    monkeypatch.setattr(MasterKey, "load", classmethod(lambda *_: MasterKey({1: bytes(32)})))
    crm = tmp_path / "crm.csv"
    crm.write_text("customer_no,phone,phone_verified,unionid,member_number\n1,,0,union-1,\n")
    identity.load_file(SimpleNamespace(database_url="", bootstrap=""), crm, now_us=1, dry_run=dry_run)
    assert done == expected
