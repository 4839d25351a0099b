"""`kefulake erase`: who is meant, what is theirs, and the certificate. Stores: tests/e2e, make erasure-proof."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.ops import erase, erasure_stores, erasure_topics
from pipelines import contracts
from pipelines.privacy.erasure import Line, Person, certificate, person
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import coordinates, encrypt_payload
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import VaultWriter
from tests.unit.io.lake import AT, interaction, write

WHY = "request of the person"


@pytest.fixture
def never(monkeypatch):
    """Nothing may be erased."""

    def erased(*_, **__):
        raise AssertionError("it began to erase")

    monkeypatch.setattr(erase, "erase", erased)


def run(*arguments: str, answer: str | None = None):
    return CliRunner().invoke(cli.build(["erase"]), ["erase", *arguments], input=answer)


def link(settings, token, customer_id, day):
    at = AT + timedelta(days=day)
    row = {"token": token, "customer_id": customer_id, "valid_from_at": at, "recorded_at": at}
    write(settings.lake, "silver.identity_links", [row])


def reject(settings, offset, payload: bytes):
    where = coordinates("raw.app", 0, offset)
    row = {"raw_topic": "raw.app", "raw_partition": 0, "raw_offset": offset, "attempt": 0, "rule": "a.a", "reason": "r",
           "received_at": AT, "received_date": AT.date(),
           "payload_encrypted": encrypt_payload(payload, MasterKey.load(settings), where)}  # fmt: skip
    write(settings.lake, "quarantine.rejects", [row])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of"),  # nobody named
        (["c_1"], "no token is linked"),  # a customer nobody has linked
    ],
)
def test_who_is_meant_has_to_be_known(settings, never, arguments, says):
    told = run(*arguments, "--reason", WHY, "--yes")
    assert told.exit_code == 2
    assert says in " ".join(told.output.split())


def test_named_in_two_ways_is_refused(settings, never, tmp_path):
    (tmp_path / "tokens").write_text("ph1_1\n")
    assert run("c_1", "--tokens", str(tmp_path / "tokens"), "--reason", WHY, "--yes").exit_code == 2


def test_without_yes_it_asks_and_no_is_no(settings, never):
    link(settings, "ph1_1", "c_1", 1)
    told = run("c_1", "--reason", WHY, answer="n\n")
    assert told.exit_code == 1
    assert "cannot be undone" in told.output


def test_the_newest_link_of_each_token_says_whose_it_is(settings):
    link(settings, "ph1_1", "c_1", 1)
    link(settings, "ph1_1", "c_2", 2)  # the number went to somebody else
    link(settings, "ph1_2", "c_1", 1)
    assert erase.linked_tokens(settings, "c_1") == {"ph1_2"}


def test_the_whole_person_is_found_by_links_rows_bytes_and_sessions(settings):
    key = MasterKey.load(settings)
    vault = VaultWriter(key)
    phone = Tokeniser(key, on_new=vault.add).token("13812345670", "phone")
    write(settings.lake, "identity.vault", [json.loads(entry) for _, entry in vault.drain()])
    write(settings.lake, "silver.interactions", [
        interaction(1, customer_id="c_1", phone_token=phone, openid_token="op1_mine", session_id="s1"),
        interaction(2, customer_id=None, sender_role="agent", session_id="s1"),  # the answer
        interaction(3, customer_id="c_2", openid_token="op1_others"),
    ])  # fmt: skip
    reject(settings, 7, "来电 138-1234-5670".encode("gbk"))
    reject(settings, 8, b"13912345678")
    who = erase.whole(settings, person([phone], ["c_1"]))
    assert who.tokens == {phone, "op1_mine"}
    assert who.messages == {"raw.web_chat/0/1", "raw.web_chat/0/2", "raw.app/0/7"}
    assert erasure_stores.count_in_lake(settings, who)["quarantine.rejects"] == 1


def test_an_interrupted_erasure_is_taken_up_although_its_links_are_gone(settings, monkeypatch):
    """The links went with the first run; what it had found was written down."""
    before = Person(frozenset({"ph1_1"}), frozenset({"c_1"}), frozenset({"raw.app/0/7"}))
    (settings.home / "erasures").mkdir()
    (settings.home / "erasures" / "e_0.open.json").write_text(json.dumps(before.selection()))
    assert erase.begun(settings, "c_1", set()) == before
    assert erase.begun(settings, None, {"ph1_1"}) == before
    assert erase.begun(settings, "c_2", set()) is None
    assert erase.begun(settings, None, {"ph1_1", "ph1_2"}) is None
    asked = []

    def began(_, who, **__):
        asked.append(who)
        raise ValueError("far enough")

    monkeypatch.setattr(erase, "erase", began)
    run("c_1", "--reason", WHY, "--yes")
    assert asked == [before]


def test_the_certificate_is_private_and_its_hash_is_audited(settings, monkeypatch):
    noted = []
    monkeypatch.setattr(erase, "write_down", lambda *a, **more: noted.append(more["detail"]))
    made = certificate("e_1", Person(frozenset()), [Line("lake", 1, 0)], subject="c_1", reason=WHY)
    kept = erase.keep(settings, made, "privacy_officer")
    path = settings.home / "erasures" / "e_1.json"
    assert path.stat().st_mode & 0o777 == 0o600
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (kept["sha256"], noted[0]["certificate_sha256"], noted[0]["complete"]) == (digest, digest, True)


def test_every_topic_of_people_is_deleted_by_offset_or_by_key():
    """A compacted topic that is not keyed by token would be left out: whoever adds one has to think of erasure."""
    by_offset, by_key = erasure_topics.topics_of_people()
    feeding = {topic for name in erasure_stores.telling(["tiering"]) for topic in contracts.table(name).topics}
    assert feeding - {*by_offset, *by_key} == set()
    assert {"identity.vault", "identity.map"} <= set(by_key)
    assert {"raw.web_chat", "interactions.clean", "quarantine.rejects"} <= set(by_offset)
