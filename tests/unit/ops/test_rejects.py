"""`kefulake rejects`: what goes back to the broker, and what stays. The broker alone is not there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from typer.testing import CliRunner

from infra.stack import roots
from infra.stack.settings import Settings
from jobs import cli
from jobs.ops import rejects
from pipelines.collectors import regions
from pipelines.io import replays
from pipelines.io.audit_log import AuditRefused
from pipelines.io.publisher import PublishError
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import coordinates, encrypt_payload
from tests.unit.io.lake import AT, write


@pytest.fixture
def sent(monkeypatch) -> list:
    """(topic, bytes, headers) of what was published."""
    found = []

    def publish(bootstrap, topic, records, *, headers):
        found.extend((topic, value, dict(h)) for (_, value), h in zip(records, headers, strict=True))
        return len(records)

    monkeypatch.setattr(rejects, "publish", publish)
    return found


def put(settings: Settings, offset: int, payload: bytes | None, **columns) -> None:
    """A reject of raw.app, partition 0; received as many seconds after AT as its offset says."""
    row = {"raw_topic": "raw.app", "raw_partition": 0, "raw_offset": offset, "attempt": 0, "rule": "a.a", "reason": "r"}
    row |= {"received_at": AT + timedelta(seconds=offset), "received_date": AT.date(), "account": "shop"} | columns
    if payload is not None:
        where = coordinates(row["raw_topic"], row["raw_partition"], row["raw_offset"])
        row["payload_encrypted"] = encrypt_payload(payload, MasterKey.load(settings), where)
    write(settings.lake, "quarantine.rejects", [row])


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.build(["rejects"]), ["rejects", *arguments], env={"COLUMNS": "150"})
    return done.exit_code, done.stdout


def test_a_reject_goes_out_with_its_bytes_and_the_place_of_its_first_attempt(settings, sent):
    put(settings, 7, b"seven")
    put(settings, 8, b"eight", rule="b.b")
    assert run("replay", "--rule", "a.a") == (0, "raw.app: 1 messages sent again\n")
    first = {"first_topic": b"raw.app", "first_partition": b"0", "first_offset": b"7"}
    assert sent == [("raw.app", b"seven", {"account": b"shop", "attempt": b"1"} | first)]


def test_a_second_replay_sends_nothing_unless_asked(settings, sent):
    put(settings, 7, b"seven")
    run("replay", "--rule", "a.a")
    told = "1 were sent again before and stay; --again sends these as well.\n"
    assert run("replay", "--rule", "a.a") == (0, told)
    assert len(sent) == 1
    assert run("replay", "--rule", "a.a", "--again")[0] == 0
    assert [headers["attempt"] for _, _, headers in sent] == [b"1", b"2"]


def test_a_second_attempt_keeps_the_place_of_the_first(settings, sent):
    put(settings, 7, b"seven")
    run("replay", "--rule", "a.a")
    put(settings, 9, b"seven", attempt=1, first_topic="raw.app", first_partition=0, first_offset=7)
    assert run("replay", "--rule", "a.a") == (0, "raw.app: 1 messages sent again\n")
    assert (sent[1][2]["attempt"], sent[1][2]["first_offset"]) == (b"2", b"7")


def test_the_oldest_go_first_and_the_rest_is_told(settings, sent):
    for offset in (9, 7, 8):
        put(settings, offset, str(offset).encode())
    assert run("replay", "--rule", "a.a", "--limit", "2")[1].endswith("1 more wait; --limit takes more at once.\n")
    assert [value for _, value, _ in sent] == [b"7", b"8"]
    run("replay", "--rule", "a.a")
    assert [value for _, value, _ in sent] == [b"7", b"8", b"9"]


def test_bytes_that_cannot_be_opened_hold_up_nothing(settings, sent):
    put(settings, 7, None)
    put(settings, 8, b"eight")
    code, told = run("replay", "--rule", "a.a")
    assert code == 1
    assert "raw.app: 1 messages sent again" in told
    assert "not sent: The kept bytes of raw.app/0/7 " in told
    assert [value for _, value, _ in sent] == [b"eight"]


def test_records_of_our_own_topics_are_never_sent(settings, sent):
    put(settings, 7, b"seven", raw_topic="interactions.clean")
    assert run("replay", "--rule", "a.a") == (0, "Nothing was rejected by a.a.\n")
    assert sent == []


def test_what_the_broker_did_not_acknowledge_is_not_noted(settings, monkeypatch):
    def refuse(*_, **__):
        raise PublishError("1 of 1 records were not acknowledged")

    put(settings, 7, b"seven")
    monkeypatch.setattr(rejects, "publish", refuse)
    assert run("replay", "--rule", "a.a")[0] != 0
    assert replays.read(settings).is_empty()


def test_show_gives_each_message_once_newest_first(settings):
    put(settings, 7, b"call 13912345678")
    put(settings, 8, b"eight")
    put(settings, 9, b"call 13912345678", attempt=1, first_topic="raw.app", first_partition=0, first_offset=7)
    _, told = run("show")
    assert [line.split()[0] for line in told.splitlines() if line.startswith("raw.app")] == [
        "raw.app/0/9",
        "raw.app/0/8",
    ]
    assert "attempt 1" in told
    assert "13912345678" not in told


def test_bytes_in_the_clear_are_for_some_roles_with_a_reason_and_written_down(settings, monkeypatch):
    put(settings, 7, b"call 13912345678")
    noted = []
    monkeypatch.setattr(
        rejects, "write_down", lambda _, act, subject, *, role, **more: noted.append((act, subject, role))
    )
    clear = ("show", "--unmasked", "--reason", "broken feed of yesterday")
    assert "13912345678" in run(*clear, "--role", "data_engineer")[1]
    code, told = run(*clear, "--role", "analyst")
    assert (code, "13912345678" in told) == (1, False)
    code, told = run("show", "--unmasked", "--role", "data_engineer")  # no reason
    assert (code, "13912345678" in told) == (1, False)
    assert noted == [
        ("open_bytes", "quarantine.rejects", "data_engineer"),
        ("refused", "quarantine.rejects", "analyst"),
        ("refused", "quarantine.rejects", "data_engineer"),
    ]


def test_what_cannot_be_written_down_is_not_shown(settings, monkeypatch):
    def refuse(*_, **__):
        raise AuditRefused("MariaDB is away")

    put(settings, 7, b"call 13912345678")
    monkeypatch.setattr(rejects, "write_down", refuse)
    _, told = run("show", "--unmasked", "--role", "data_engineer", "--reason", "broken feed of yesterday")
    assert "13912345678" not in told


def test_summary_counts_what_was_sent_again(settings, sent):
    for offset in (1, 2, 3):
        put(settings, offset, b"x")
    run("replay", "--rule", "a.a", "--limit", "2")
    [line] = [line for line in run("summary")[1].splitlines() if "a.a" in line]
    assert [cell.strip() for cell in line.strip("│ ").split("│")] == ["a.a", "3", "2"]


def test_what_belongs_to_another_region_stays_and_is_explained(settings, sent, monkeypatch):
    known = regions.Regions("cn", (regions.Further("sg"),), {("app", "shop_sg"): "sg"})
    monkeypatch.setattr(regions, "declared", lambda: known)
    monkeypatch.setattr(roots, "own_bootstrap", lambda settings: "of cn")
    put(settings, 7, b"seven", rule="region.wrong", account="shop_sg")
    put(settings, 8, b"eight", rule="region.wrong", account="shop_sg")
    put(settings, 9, b"nine", rule="region.wrong")  # declared for sg when it came, and for cn since
    code, told = run("replay", "--rule", "region.wrong", "--limit", "1")
    assert [value for _, value, _ in sent] == [b"nine"]  # what stays does not use up the limit
    assert code == 1
    assert "2 stay in the root of cn: their accounts belong to another region" in told
    assert "  2 of account shop_sg in raw.app: region sg\n" in told
    assert "kefulake deploy clean_interactions" in told
