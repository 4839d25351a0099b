"""Loading a CRM file: the values go into the vault before the identifiers count as known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from jobs.ops import identity
from pipelines.identity.crm_import import CrmFileShrinks
from pipelines.io.identity_store import Changes, Outcome
from pipelines.privacy.keys import MasterKey


class Recorder:
    """Stands in for the state on the server: says when it has taken evidence in."""

    def __init__(self, done: list[str], known: pl.DataFrame):
        self._done, self.known = done, known

    def learn(self, claims, *, check=lambda known: None, before_commit=lambda tokens: None, dry_run=False, **_):
        tokens = frozenset(claims["token"])
        check(self.known)
        if not dry_run:
            before_commit(tokens)
            self._done.append("committed")
        return Outcome(claims.height, tokens, changes=Changes())

    def drain(self, publish):
        self._done.append("sent")


SETTINGS = SimpleNamespace(database_url="", bootstrap="", region=None)


def stand_in(monkeypatch, done: list[str], *, known_customers: int) -> None:
    schema = {"record_key": pl.String, "source": pl.String, "last_seen_at": pl.Int64}
    known = pl.DataFrame([(f"crm/{n}", "crm", None) for n in range(known_customers)], schema=schema, orient="row")
    monkeypatch.setattr(identity, "IdentityStore", lambda *_: Recorder(done, known))
    monkeypatch.setattr(identity, "connect", lambda _: None)
    monkeypatch.setattr(identity, "publish", lambda _, topic, records: done.append(topic))
    monkeypatch.setattr(MasterKey, "load", classmethod(lambda *_: MasterKey({1: bytes(32)})))


def one_customer(folder: Path) -> Path:
    crm = folder / "crm.csv"
    crm.write_text("customer_no,phone,phone_verified,unionid,member_number\n1,,0,union-1,\n")
    return crm


@pytest.mark.parametrize(("dry_run", "expected"), [(False, ["identity.vault", "committed", "sent"]), (True, [])])
def test_values_are_kept_before_the_commit_and_a_dry_run_keeps_none(monkeypatch, tmp_path, dry_run, expected):
    done: list[str] = []
    stand_in(monkeypatch, done, known_customers=0)
    identity.load_file(SETTINGS, one_customer(tmp_path), now_us=1, dry_run=dry_run)
    assert done == expected


def test_a_file_of_one_customer_does_not_end_all_the_others_unless_that_is_said(monkeypatch, tmp_path):
    done: list[str] = []
    stand_in(monkeypatch, done, known_customers=101)  # a hundred may always leave
    with pytest.raises(CrmFileShrinks, match="101 of the CRM's 101 customers"):
        identity.load_file(SETTINGS, one_customer(tmp_path), now_us=1)
    assert done == []
    identity.load_file(SETTINGS, one_customer(tmp_path), now_us=1, allow_shrink=True)
    assert done == ["identity.vault", "committed", "sent"]
