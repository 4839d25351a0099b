"""`kefulake store-import` without a broker: what is sent, what is kept, and what a run that dies leaves behind."""

from __future__ import annotations

import copy
import os
import shutil
from collections import Counter
from datetime import date
from pathlib import Path

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from jobs import cli
from jobs.ops import store_deliveries, store_import, store_inbox, store_resend, store_roots
from pipelines import contracts
from pipelines.io import store_files_table
from pipelines.io.paced_producer import NoBroker, SendResult
from pipelines.io.store_archive import ImportBusy, StoreArchive, alone
from pipelines.privacy.keys import MasterKey
from tests.unit.io.lake import AT, write

HEAD = "记录编号,门店编号,到店时间,手机号,咨询内容\r\n"
S, NOW = 10**9, 1_768_000_000 * 10**9  # 2026-01-10 in Shanghai
DAY = date(2026, 1, 9)


def text(*rows: str, store: str = "S01") -> bytes:
    return (
        HEAD + "".join(f"{one[0]},{store},2026-01-09 08:0{one[0]}:00,13900000001,{one}\r\n" for one in rows)
    ).encode()


@pytest.fixture
def sent(monkeypatch) -> list:
    """(source_ref, record) of every message the broker acknowledged, in order."""
    found = []

    def send(bootstrap, records):
        records = list(records)
        found.extend((dict(record.headers)["source_ref"].decode(), record) for record in records)
        return SendResult(len(records), len(records), 0.0, Counter())

    monkeypatch.setattr(store_roots, "send", send)
    return found


@pytest.fixture
def inbox(settings) -> Path:
    folder = settings.home / "inbox" / "stores"
    folder.mkdir(parents=True)
    return folder


def put(inbox: Path, name: str, content: bytes, at_ns: int = NOW - 3600 * S) -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(at_ns, at_ns))
    return path


def run(settings, inbox, now_ns=NOW, **more):
    return store_import.run(settings, inbox, now_ns, **more)


def verdicts(done) -> list[str]:
    return [report.file_verdict for _, report in done.reports]


def messages(sent) -> list[tuple]:
    """(record number, revision, what it says or that it was taken back), in the order they were sent."""
    fields = [orjson.loads(record.value) for _, record in sent]
    return [(one["record_no"].rpartition("/")[2], one.get("revision", 0), one.get("咨询内容", "-")) for one in fields]


def noted(settings) -> list[tuple]:
    table = store_files_table.DeltaTable(str(settings.table_path("bronze.store_files"))).to_pyarrow_table()
    return sorted((row["file_name"], row["file_verdict"], row["rows_sent"]) for row in table.to_pylist())


def test_a_file_is_sent_archived_reported_and_taken_away(settings, inbox, sent):
    put(inbox, "S01.csv", text("1换屏", "2退货"))
    assert verdicts(run(settings, inbox)) == ["imported"]
    assert messages(sent) == [("1", 0, "1换屏"), ("2", 0, "2退货")]
    assert [ref.partition("#")[0] for ref, _ in sent] == ["S01.csv:2", "S01.csv:3"]
    assert noted(settings) == [("S01.csv", "imported", 2)]
    assert list(inbox.iterdir()) == []
    kept = [path for path in (settings.home / "archive").rglob("*") if path.is_file()]
    assert not any(b"13900000001" in path.read_bytes() for path in kept)
    assert {path.stat().st_mode & 0o077 for path in kept if path.suffix in (".file", ".json")} <= {0, 0o44}


def test_again_and_in_another_form_sends_nothing(settings, inbox, sent):
    put(inbox, "S01.csv", text("1换屏", "2退货"))
    run(settings, inbox)
    put(inbox, "again.csv", text("1换屏", "2退货"))
    put(inbox, "other.csv", text("1换屏", "2退货").decode().replace(",", ";").encode("gbk"))
    assert sorted(verdicts(run(settings, inbox))) == ["redelivered", "unchanged"]
    assert len(sent) == 2


def test_a_correction_sends_what_is_different_and_an_older_file_does_not_undo_it(settings, inbox, sent):
    first, second = text("1换屏", "2退货", "3咨询"), text("1换屏", "2退款", "4新到")
    put(inbox, "S01.csv", first)
    run(settings, inbox)
    put(inbox, "S01.csv", second)
    assert verdicts(run(settings, inbox)) == ["corrected"]
    assert messages(sent[3:]) == [("2", 1, "2退款"), ("4", 0, "4新到"), ("3", 1, "-")]
    put(inbox, "S01.csv", first)
    [(_, report)] = run(settings, inbox).reports
    assert (report.file_verdict, len(sent)) == ("redelivered", 6)
    assert "a correction of it stands" in report.reason


@pytest.mark.parametrize(
    ("where", "what", "sent_again"),
    [
        (store_roots, "send", 3),  # nothing was acknowledged
        (store_import.Deliveries, "_commit", 6),  # acknowledged, not committed: once more, under the same event IDs
        (store_import.store_files_table, "note", 3),  # committed, not reported
        (store_inbox.Inbox, "remove", 3),  # reported, not taken away
    ],
)
def test_a_run_that_dies_is_made_whole_by_the_next(settings, inbox, sent, monkeypatch, where, what, sent_again):
    put(inbox, "S01.csv", text("1换屏", "2退货", "3咨询"))
    with monkeypatch.context() as patch:

        def die(*args, **kwargs):
            raise KeyboardInterrupt

        patch.setattr(where, what, die)
        with pytest.raises(KeyboardInterrupt):
            run(settings, inbox)
    assert verdicts(run(settings, inbox)) == ["imported"]
    assert len(sent) == sent_again
    assert {(record.value, ref) for ref, record in sent} == {(record.value, ref) for ref, record in sent[-3:]}
    assert noted(settings) == [("S01.csv", "imported", 3)]
    assert list(inbox.iterdir()) == []
    assert (verdicts(run(settings, inbox)), len(sent)) == ([], sent_again)


def bronze(settings, refs) -> None:
    """Messages of raw.store in bronze, by their refs."""
    row = {"raw_topic": "raw.store", "raw_partition": 0, "received_at": AT, "received_date": AT.date()}
    rows = [
        row | {"raw_offset": n, "headers": orjson.dumps({"source_ref": ref}).decode()} for n, ref in enumerate(refs)
    ]
    write(settings.lake, "bronze.raw_events", rows)


def test_an_import_that_died_long_ago_sends_only_what_is_not_in_bronze(settings, inbox, sent, monkeypatch):
    put(inbox, "S01.csv", text("1换屏", "2退货", "3咨询"))
    with monkeypatch.context() as patch:
        patch.setattr(store_deliveries.Deliveries, "_commit", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(settings, inbox)
    [note] = (settings.home / "archive").rglob("*.sending")
    os.utime(note, ns=(NOW - 30 * 3600 * S,) * 2)  # the stream has forgotten those events
    monkeypatch.setattr(store_deliveries, "refs_in_bronze", lambda settings, since_us: {ref for ref, _ in sent[:2]})
    run(settings, inbox)
    assert messages(sent[3:]) == [("3", 0, "3咨询")]


def test_another_file_in_the_place_of_one_that_was_being_sent_takes_the_next_revision(
    settings, inbox, sent, monkeypatch
):
    put(inbox, "S01.csv", text("1换屏", "2退货"))
    run(settings, inbox)
    put(inbox, "S01.csv", text("1换屏", "2退款"))
    with monkeypatch.context() as patch:
        patch.setattr(store_deliveries.Deliveries, "_commit", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(settings, inbox)
    put(inbox, "S01.csv", text("1换屏", "2换货"))  # meanwhile the store has corrected its correction
    assert verdicts(run(settings, inbox)) == ["corrected", "corrected"]
    # Had 换货 gone out as revision 1, the stream would have dropped it as a duplicate of 退款.
    assert messages(sent[2:]) == [("2", 1, "2退款"), ("2", 1, "2退款"), ("2", 2, "2换货")]
    assert [path.name for path in (settings.home / "archive").rglob("*.sending")] == []


def test_without_acknowledgement_nothing_counts_as_sent(settings, inbox, sent, monkeypatch):
    put(inbox, "S01.csv", text("1换屏"))
    with monkeypatch.context() as patch:
        patch.setattr(
            store_roots, "send", lambda b, records: SendResult(1, 0, 0.0, Counter({"timed out": len(list(records))}))
        )
        with pytest.raises(NoBroker, match="acknowledged 0 of 1"):
            run(settings, inbox)
    assert [path.name for path in inbox.iterdir()] == ["S01.csv"]
    assert verdicts(run(settings, inbox)) == ["imported"]


def test_half_a_file_waits_and_is_refused_after_a_day_without_a_change(settings, inbox, sent):
    half = text("1换屏", "2退货")[:-20]
    put(inbox, "S01.csv", half)
    for hours, seen in ((0, "waits"), (23, "waits"), (24, "refused")):
        done = run(settings, inbox, NOW + hours * 3600 * S)
        assert list(done.waiting) == (["S01.csv"] if seen == "waits" else [])
    [(_, report)] = done.reports
    assert (report.file_verdict, report.refusal, report.rows_sent, sent) == ("refused", "incomplete.given_up", 0, [])
    assert list(inbox.iterdir()) == []


def test_a_run_for_another_day_does_not_give_a_waiting_file_more_time(settings, inbox, sent):
    put(inbox, "S01.csv", text("1换屏", "2退货").rstrip())  # its day is known, its last line has no end
    assert run(settings, inbox).waiting
    run(settings, inbox, NOW + 12 * 3600 * S, only_day=date(2026, 1, 8))
    assert verdicts(run(settings, inbox, NOW + 24 * 3600 * S)) == ["refused"]


def test_a_file_that_grows_gets_its_time_anew_and_is_taken_when_it_is_whole(settings, inbox, sent):
    whole = text("1换屏", "2退货")
    put(inbox, "S01.csv", whole[:-20])
    run(settings, inbox)
    put(inbox, "S01.csv", whole[:-10], NOW + 22 * 3600 * S)
    assert run(settings, inbox, NOW + 23 * 3600 * S).waiting
    assert run(settings, inbox, NOW + 25 * 3600 * S).waiting  # a day since the first look, not since it grew
    put(inbox, "S01.csv", whole, NOW + 26 * 3600 * S)
    assert run(settings, inbox, NOW + 26 * 3600 * S + 30 * S).waiting  # written to half a minute ago
    assert verdicts(run(settings, inbox, NOW + 27 * 3600 * S)) == ["imported"]


def test_a_refused_file_is_kept_with_its_reason_and_nothing_of_it_is_sent(settings, inbox, sent):
    content = text("1换屏", store="S02")
    put(inbox, "S01.csv", content)
    put(inbox, "S02.csv", text("2退货", store="S02"))
    assert sorted(verdicts(run(settings, inbox))) == ["imported", "refused"]
    assert messages(sent) == [("2", 0, "2退货")]
    archive = StoreArchive(settings.home, MasterKey.load(settings))
    [(sha256, told)] = archive.refused()
    assert told["refusal"] == "store.foreign_rows"
    assert archive.open(archive.root / "refused", sha256) == content


def test_a_refused_file_comes_back_once_its_cause_is_gone(settings, inbox, sent, tmp_path_factory, monkeypatch):
    put(inbox, "new/S07.csv", text("1换屏", store="S07"))
    [(_, report)] = run(settings, inbox).reports
    schemas = tmp_path_factory.mktemp("more") / "schemas"
    shutil.copytree(contracts.schemas_folder(), schemas)
    path = schemas / "policies" / "store_import.yaml"
    policy = yaml.safe_load(path.read_text())
    policy["stores"]["S07"] = {"name": "新街口店", "account": "default"}
    path.write_text(yaml.safe_dump(policy, allow_unicode=True))
    monkeypatch.setenv(contracts.SCHEMAS_VARIABLE, str(schemas))
    assert "0 refused files begin with" in str(kefulake("--release", "ffff").exception)
    done = kefulake("--release", report.file_sha256[:12])
    assert done.exit_code == 0, (done.output, done.exception)
    assert messages(sent) == [("1", 0, "1换屏")]
    assert list(StoreArchive(settings.home, MasterKey.load(settings)).refused()) == []


def test_a_correction_may_shrink_when_asked(settings, inbox, sent):
    put(inbox, "S01.csv", text(*(f"{n}咨询" for n in range(1, 10))))
    run(settings, inbox)
    put(inbox, "S01.csv", text("1咨询", "2咨询"))
    assert verdicts(run(settings, inbox)) == ["refused"]
    put(inbox, "S01.csv", text("1咨询", "2咨询"))
    [(_, report)] = run(settings, inbox, allow_shrink=True).reports
    assert (report.file_verdict, report.rows_withdrawn) == ("corrected", 7)


def test_a_shrinking_correction_whose_run_died_is_made_whole_without_being_asked_for_again(
    settings, inbox, sent, monkeypatch
):
    put(inbox, "S01.csv", text(*(f"{n}咨询" for n in range(1, 10))))
    run(settings, inbox)
    put(inbox, "S01.csv", text("1咨询", "2咨询"))
    with monkeypatch.context() as patch:

        def die(*args, **kwargs):
            raise KeyboardInterrupt

        patch.setattr(StoreArchive, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            run(settings, inbox, allow_shrink=True)
    [(_, report)] = run(settings, inbox).reports  # as the night does, which allows nothing
    assert (report.file_verdict, report.rows_withdrawn) == ("corrected", 7)


def test_only_the_day_asked_for_is_taken(settings, inbox, sent):
    put(inbox, "S01.csv", text("1换屏"))
    put(inbox, "half.csv", text("2退货")[:-9])
    put(inbox, "nobody.csv", b"date,amount\r\n")
    done = run(settings, inbox, only_day=date(2026, 1, 8))
    assert (verdicts(done), done.other_days, len(sent)) == ([], 3, 0)
    assert sorted(path.name for path in inbox.iterdir()) == ["S01.csv", "half.csv", "nobody.csv"]
    done = run(settings, inbox, only_day=DAY)
    assert (verdicts(done), done.missing) == (["imported"], ["S02", "S03", "S04", "S05", "S06"])


def test_a_past_day_sends_again_what_the_lake_lacks(settings, inbox, sent, monkeypatch):
    put(inbox, "S01.csv", text("1换屏", "2退货", "3咨询"))
    run(settings, inbox)
    put(inbox, "S01.csv", text("1换屏", "2退款"))
    run(settings, inbox)
    later = NOW + 3600 * S
    monkeypatch.setattr(store_resend, "refs_in_bronze", lambda settings, since_us: {ref for ref, _ in sent})
    assert verdicts(run(settings, inbox, later, only_day=DAY)) == []
    monkeypatch.setattr(store_resend, "refs_in_bronze", lambda settings, since_us: set())  # the lake was lost
    assert verdicts(run(settings, inbox, later, only_day=DAY)) == ["resent"]
    assert messages(sent[5:]) == [("1", 0, "1换屏"), ("2", 1, "2退款"), ("3", 1, "-")]
    assert {record.value for _, record in sent[5:]} < {record.value for _, record in sent[:5]}


def test_refs_in_bronze_are_those_of_stores(settings):
    bronze(settings, ["S01.csv:2#ab", "S01.csv:3#ab"])
    assert store_files_table.refs_in_bronze(settings, int(AT.timestamp() * 1e6)) == {"S01.csv:2#ab", "S01.csv:3#ab"}
    assert store_files_table.refs_in_bronze(settings, int((AT.timestamp() + 90_000) * 1e6)) == set()


STORES = {"S01": {"name": "南京路店", "account": "default"}, "S02": {"name": "乌节路店", "account": "shop_sg"}}
TWO_REGIONS = {
    "regions": {"further": {"sg": {"accounts": {"store": ["shop_sg"]}}}},
    "store_import": {"stores": STORES},
}


def test_a_store_of_another_region_lies_in_that_regions_root(settings, inbox, sent, tmp_path_factory, monkeypatch):
    schemas = tmp_path_factory.mktemp("two") / "schemas"
    shutil.copytree(contracts.schemas_folder(), schemas)
    for name, change in TWO_REGIONS.items():
        path = schemas / "policies" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change, allow_unicode=True))
    monkeypatch.setenv(contracts.SCHEMAS_VARIABLE, str(schemas))
    monkeypatch.setattr(store_roots.roots, "bootstrap_of", lambda here, region: f"broker of {region}")
    there = store_roots.roots.root_of(settings, "sg")
    MasterKey.create(there.home / "keys" / "master.key")
    put(inbox, "S01.csv", text("1换屏"))
    put(inbox, "S02.csv", text("2退货", store="S02"))
    done = run(settings, inbox)
    assert {report.store_id: (root.settings.region, root.bootstrap) for root, report in done.reports} == {
        "S01": (None, "broker of cn"), "S02": ("sg", "broker of sg"),
    }  # fmt: skip
    assert noted(settings) == [("S01.csv", "imported", 1)]
    assert noted(there) == [("S02.csv", "imported", 1)]
    assert not (settings.home / "archive" / "stores" / "S02").exists()
    assert os.environ["KEFULAKE_HOME"] == str(settings.home)


def test_links_and_open_workbooks_are_not_taken(settings, inbox, sent, tmp_path):
    put(tmp_path, "secret.csv", text("1换屏"))
    (inbox / "S01.csv").symlink_to(tmp_path / "secret.csv")
    put(inbox, "~$S01.xlsx", b"owner")
    put(inbox, ".hidden.csv", text("1换屏"))
    done = run(settings, inbox)
    assert (verdicts(done), list(done.stays), sent) == ([], ["S01.csv"], [])


def test_one_import_at_a_time(settings, inbox):
    with alone(settings.home), pytest.raises(ImportBusy):
        run(settings, inbox)


def kefulake(*arguments: str):
    return CliRunner().invoke(cli.build(["store-import"]), ["store-import", *arguments], env={"COLUMNS": "200"})


def test_the_command_says_what_it_did_and_by_its_exit_code_whether_all_went_well(settings, inbox, sent):
    put(inbox, "S01.csv", text("1换屏"))
    good = kefulake()
    assert good.exit_code == 0, (good.output, good.exception)
    assert "1 files, 1 messages sent; 0 files wait." in good.stdout
    put(inbox, "S01.csv", text("1换屏", store="S99"))
    refused = kefulake()
    assert (refused.exit_code, "store.undeclared: store S99 is not declared" in refused.stdout) == (3, True)
    assert kefulake("--date", "2026-01-09").exit_code == 0
    missing = kefulake("--date", "2026-01-09", "--expect-all")
    assert (missing.exit_code, "ever came from S02, S03, S04, S05, S06" in missing.stdout) == (4, True)
    assert kefulake("--expect-all").exit_code == 2
    assert kefulake("--inbox", "/nowhere").exit_code == 2


def test_a_store_that_delivers_sometimes_is_not_missed(settings, inbox, sent, monkeypatch):
    policy = copy.deepcopy(contracts.policy("store_import"))
    policy["stores"]["S05"]["delivers"] = "sometimes"
    told = contracts.policy
    monkeypatch.setattr(contracts, "policy", lambda name: policy if name == "store_import" else told(name))
    put(inbox, "S01.csv", text("1换屏"))
    assert run(settings, inbox, only_day=DAY).missing == ["S02", "S03", "S04", "S06"]
