"""The vault's newest entries out of a backup: of the tail always, of a newer table where an earlier round asks."""

from __future__ import annotations

import json
from datetime import timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from infra.stack.settings import Ports, Settings
from jobs.ops import restoring
from pipelines.backup import store
from pipelines.backup.manifest import FILE
from pipelines.backup.manifest_writer import Writer
from pipelines.io import backup_topics, restore_identity, restore_vault
from pipelines.io.backup_lake import Shipped, ship_table
from pipelines.io.backup_round import Shipper
from pipelines.io.backup_topics import Record
from pipelines.io.committed_log import LogRefused
from pipelines.privacy.keys import MasterKey
from tests.unit.io.lake import AT, interaction, write

KEY = MasterKey({1: bytes(32)})
PHONE, MEMBER, SAID, OLD, NAME = (
    f"{kind}1_{digit * 32}" for kind, digit in zip(("ph", "mb", "ph", "ph", "nm"), "abcde", strict=True)
)


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "home", Ports(20_000))


def entry(token: str, wrapped: str | None = "AQ==") -> dict:
    return {"token": token, "token_type": "phone", "token_key_version": 1, "wrapped_key": wrapped, "nonce": "n",
            "ciphertext": f"of {token}"}  # fmt: skip


def vault_rows(path, *entries: dict) -> None:
    write_deltalake(str(path), pa.Table.from_pylist(list(entries)), mode="append")


def round_of(folder, at: float, table, *tail: tuple[str, dict | None]):
    """A sealed round with the vault's table as it is, and these records beyond it."""
    writer, shipped = Writer.open(folder), Shipped()
    ship_table(writer, "identity.vault", table, shipped)
    writer.discard(list(writer.state.of(backup_topics.VAULT_TAIL)))
    if tail:
        path = f"topics/identity.vault-0/life/{at}.sealed"
        records = [Record(n, 0, t.encode(), None, None if e is None else json.dumps(e).encode())
                   for n, (t, e) in enumerate(tail)]  # fmt: skip
        made = backup_topics.store.write_in(folder, path, backup_topics.seal(records, KEY, path))
        writer.note({"kind": FILE, "what": backup_topics.VAULT_TAIL, "place": "identity.vault/0", "topic_id": "life",
                     "first": 0, "end": len(tail), "at": at, **made})  # fmt: skip
    return writer.seal(at=at, tables=shipped.tables, ends={}, facts={})


def test_the_newest_round_gives_its_whole_tail(tmp_path):
    vault_rows(tmp_path / "vault", entry(OLD))
    state = round_of(tmp_path / "backup", 1.0, tmp_path / "vault", (PHONE, entry(PHONE)), (SAID, None))
    found = restore_vault.entries_beyond(tmp_path / "backup", state, KEY, {PHONE, MEMBER})
    assert [(token, value and json.loads(value)["ciphertext"]) for token, value in found] == [
        (PHONE, f"of {PHONE}"), (SAID, None),  # a removal is a record too
    ]  # fmt: skip


def test_an_earlier_round_finds_its_entries_in_the_newer_table(tmp_path):
    """Its own tail went when the table had it."""
    vault_rows(tmp_path / "vault", entry(OLD))
    earlier = round_of(tmp_path / "backup", 1.0, tmp_path / "vault", (PHONE, entry(PHONE)), (MEMBER, entry(MEMBER)))
    # the two came into the table; one of them was erased since, and somebody new wrote
    vault_rows(tmp_path / "vault", entry(PHONE), entry(MEMBER), entry(MEMBER, wrapped=""), entry(SAID))
    round_of(tmp_path / "backup", 2.0, tmp_path / "vault")
    found = restore_vault.entries_beyond(tmp_path / "backup", earlier, KEY, {PHONE, MEMBER})
    assert [(token, value and json.loads(value)["ciphertext"]) for token, value in found] == [
        (PHONE, f"of {PHONE}"), (MEMBER, None),  # whoever was erased since stays so
    ]  # fmt: skip


def test_a_damaged_tail_or_table_gives_nothing_and_stops_nobody(tmp_path):
    folder = tmp_path / "backup"
    vault_rows(tmp_path / "vault", entry(OLD))
    earlier = round_of(folder, 1.0, tmp_path / "vault")
    vault_rows(tmp_path / "vault", entry(PHONE))
    newest = round_of(folder, 2.0, tmp_path / "vault", (SAID, entry(SAID)))
    (tail,) = newest.of(backup_topics.VAULT_TAIL)
    (folder / tail).write_bytes(b"rotten")
    found = restore_vault.entries_beyond(folder, earlier, KEY, {PHONE})
    assert [token for token, _ in found] == [PHONE]
    (folder / "lake/identity/vault/_delta_log/00000000000000000001.json").write_bytes(b"{}")
    assert restore_vault.entries_beyond(folder, earlier, KEY, {PHONE}) == []


def test_a_rotten_tail_of_the_newest_round_is_noticed_and_gone_past_when_asked_to(tmp_path):
    folder = tmp_path / "backup"
    vault_rows(tmp_path / "vault", entry(OLD))
    round_of(folder, 1.0, tmp_path / "vault")
    newest = round_of(folder, 2.0, tmp_path / "vault", (SAID, entry(SAID)))
    (tail,) = newest.of(backup_topics.VAULT_TAIL)
    (folder / tail).write_bytes(b"rotten")
    with pytest.raises(store.BackupDamaged, match=r"identity\.vault-0"):
        restoring.state_at(folder, None, earlier=False)
    assert restoring.state_at(folder, None, earlier=True).rounds == newest.rounds
    assert restoring.state_at(folder, 1.5, earlier=False).rounds == newest.rounds - 1


def test_a_removed_token_is_published_as_removed_whatever_stands_beside_it():
    import polars as pl

    # PHONE was wrapped anew by version 2; files do not lie in the order of their commits
    rows = [entry(PHONE, "Ag=="), entry(MEMBER), entry(MEMBER, None), entry(PHONE, "AQ==")]
    told = restore_vault.newest_entries(pl.DataFrame(rows))
    assert [(token, value and json.loads(value)["wrapped_key"]) for token, value in told] == [
        (PHONE, "Ag=="), (MEMBER, None),
    ]  # fmt: skip


def test_a_topic_that_cannot_be_read_is_told_and_keeps_no_other_back():
    class Away:
        forgotten = False

        def ship(self, *arguments, **options):
            raise LogRefused("identity.vault/0 ends at 5, asked for 9")

        def forget(self):
            self.forgotten = True

    shipper, away, troubles = Shipper.__new__(Shipper), Away(), []
    shipper._policy = {"tail_wait_s": 1}
    assert shipper._tail_of(away, "identity.vault", None, 1, troubles) == backup_topics.Tail({}, 0, 0)
    assert away.forgotten
    assert troubles == ["topics of identity.vault: identity.vault/0 ends at 5, asked for 9"]


def test_tokens_of_late_rows_are_those_of_their_columns_and_of_numbers_in_what_was_said(settings):
    write(settings.lake, "silver.interactions", [
        interaction(1, phone_token=PHONE, text=f"打 {SAID} 找我", attributes=None),
        interaction(2, member_token=MEMBER, subject=f"回电 {SAID}"),
        interaction(3, phone_token=OLD, processed_at=AT - timedelta(hours=2)),  # its entry came with its round
        interaction(4),
    ])  # fmt: skip
    customer = interaction(5, channel="crm", record_key="crm/1", crm_status="active", updated_at=AT, name_token=NAME)
    write(settings.lake, "silver.customers", [customer])
    since = (AT - timedelta(hours=1)).timestamp()
    assert restore_vault.tokens_carried(settings, since) == {PHONE, MEMBER, SAID, NAME}


def test_history_tells_the_resolver_nothing_after_a_restore_either(settings):
    write(settings.lake, "silver.interactions", [
        interaction(1, phone_token=PHONE, member_token=MEMBER),
        interaction(2, phone_token=OLD, member_token=MEMBER, raw_topic="history.old_desk.calls"),
    ])  # fmt: skip
    told = restore_identity.told(settings, "silver.interactions", "true")
    assert told["phone_token"].to_list() == [PHONE]
