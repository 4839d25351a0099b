"""People out of migrated history, on a stack that has nothing else: no job ran, no reader of the stream ever stood.

A stack of its own: on one that others write to an erasure waits, and must, until the job has passed their messages.
"""

from __future__ import annotations

import pytest
import yaml
from deltalake import DeltaTable

from infra.stack.settings import Settings
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.simulation import legacy_desk
from tests.bench import migration_source
from tests.bench.scratch_stack import kefulake, scratch_stack

ROWS = 2_000
REGULARS = """SELECT kh_sj, COUNT(*) FROM fw_jl WHERE kh_sj LIKE '139________' GROUP BY 1
ORDER BY 2 DESC, 1 LIMIT 2"""


@pytest.fixture
def migrated(monkeypatch):
    """The old desk in the lake, half its bytes under a key version that was rotated since."""
    with scratch_stack("history-erased-test", only=["kafka", "mariadb", "tiering"]) as settings:
        url, _ = migration_source.load(settings, ROWS, 8, lambda done: None)
        monkeypatch.setenv(migration_source.URL_VARIABLE, url)
        stated = legacy_desk.declaration({"kind": "mysql", "url_variable": migration_source.URL_VARIABLE})
        file = settings.home / "old_desk.yaml"
        file.write_text(yaml.safe_dump(stated | {"accepted": dict.fromkeys(legacy_desk.DIRT, "known")}))
        kefulake("migrate", "run", str(file))
        kefulake("keys", "rotate")
        ((now,),) = migration_source.ask(settings, "SELECT CAST(NOW() AS CHAR)")
        migration_source.write_more(settings, ROWS, now)
        kefulake("migrate", "run", str(file))
        yield settings, str(file)


# A second erasure comes after the marks of the first, which tables without rows pass a minute later.
@pytest.mark.parametrize("people", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_people_and_their_bytes_leave_and_the_rest_is_certified(migrated, people) -> None:
    settings, file = migrated
    for phone, times in migration_source.ask(settings, REGULARS)[:people]:
        gone = erased(settings, phone)
        rows = dict(migration_source.ask(settings, "SELECT CAST(id AS CHAR), kh_sj FROM fw_jl"))
        assert {key for key, of in rows.items() if of == phone} <= gone
        assert times <= len(gone) < 10 * times  # under other spellings of the number, not other people's
        for key in gone:
            migration_source.ask(settings, "DELETE FROM fw_jl WHERE id = %s", key)
    assert "certified 通过" in kefulake("migrate", "certify", file)


def erased(settings: Settings, phone: str) -> set[str]:
    """Keys of the source that bronze holds no more once the phone's holder was erased."""
    named = settings.home / "tokens.txt"
    named.write_text(Tokeniser(MasterKey.load(settings)).token(phone, "phone"))
    kefulake("erase", "--tokens", str(named), "--reason", "asked for it", "--yes")
    raw = DeltaTable(str(settings.table_path("bronze.raw_events"))).to_pyarrow_table(columns=["key_bytes"])
    left = {key.decode() for key in raw["key_bytes"].to_pylist()}
    return {key for (key,) in migration_source.ask(settings, "SELECT CAST(id AS CHAR) FROM fw_jl")} - left
