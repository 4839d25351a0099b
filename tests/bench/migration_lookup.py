"""This customer's history by phone: on the source as delivered and on ours, cold and warm.

Cold on ours is a process that has not opened the lake before, with every page of its files dropped from the page cache
(posix_fadvise); cold on the source is the same for its table's file, its buffer pool being a tenth of the table.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from infra.stack.settings import PROJECT_ROOT, Settings
from tests.bench import migration_source

LIMIT = 1_000
COLD, WARM = 5, 20


def phones(settings: Settings, chance: random.Random) -> list[str]:
    """Some customers' numbers, plainly spelled, from all over the years."""
    low, high = migration_source.ask(settings, "SELECT MIN(id), MAX(id) FROM fw_jl")[0]
    found: list[str] = []
    while len(found) < WARM:
        near = "SELECT kh_sj FROM fw_jl WHERE id >= %s AND kh_sj LIKE '139________' LIMIT 1"
        rows = migration_source.ask(settings, near, chance.randint(low, high))
        found += [row[0] for row in rows]
    return found


def dropped(files: Iterable[Path]) -> None:
    """Takes the files' pages out of the page cache."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def before(settings: Settings, url: str, wanted: list[str]) -> dict[str, float]:
    """Seconds on the source."""
    dropped(migration_source.data_files(settings))
    cold = migration_source.look_up(url, wanted[0])[0]
    warm = [migration_source.look_up(url, phone)[0] for phone in wanted]
    return {"lookup_before_s": statistics.median(warm), "lookup_before_cold_s": cold}


def after(settings: Settings, wanted: list[str], url: str) -> dict[str, object]:
    """Seconds on ours, the slowest of the cold and of the warm ones; and whether the rows are the source's."""
    lake_files = [file for file in settings.lake.rglob("*") if file.is_file()]
    cold = []
    for phone in wanted[:COLD]:
        dropped(lake_files)
        cold.append(_in_a_process(settings, [phone])[0])
    warm = _in_a_process(settings, wanted)
    counted = [migration_source.look_up(url, phone)[1] for phone in wanted[:2]]
    dropped(lake_files)
    began = time.perf_counter()
    shown = [
        str(Path(sys.executable).parent / "kefulake"),
        "history",
        "--phone",
        wanted[0],
        "--limit",
        "20",
        "--reason",
        "bench",
    ]
    subprocess.run(shown, cwd=PROJECT_ROOT, check=True, capture_output=True)
    command_s = time.perf_counter() - began
    return {
        "lookup_after_s": max(one["seconds"] for one in [*cold, *warm]),
        "lookup_after_cold_s": [one["seconds"] for one in cold],
        "lookup_after_warm_median_s": statistics.median(one["seconds"] for one in warm[1:]),
        "lookup_rows_equal": counted == [one["rows"] for one in warm[:2]],
        "history_command_cold_s": command_s,
    }


def _in_a_process(settings: Settings, wanted: list[str]) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.migration_lookup", str(settings.home), *wanted],
        cwd=PROJECT_ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def main() -> None:
    """Look numbers up in one process; prints seconds and rows of each."""
    from pipelines.io.lake_history import history_of_phone
    from pipelines.privacy.keys import MasterKey
    from pipelines.privacy.tokens import Tokeniser

    home, *wanted = sys.argv[1:]
    settings = Settings.load(home)
    tokeniser = Tokeniser(MasterKey.load(settings))
    found = []
    for phone in wanted:
        began = time.perf_counter()
        contacts = history_of_phone(settings.lake, tokeniser.token(phone, "phone"), LIMIT)
        found.append({"seconds": time.perf_counter() - began, "rows": len(contacts)})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
