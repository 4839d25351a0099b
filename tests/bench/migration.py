"""Ten years of an old service desk into the lake, killed twice, damaged on purpose, looked up: migration.json.

The source is a MariaDB database as delivered (primary key, no index on the phone). `--rows` sets the size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import yaml
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from infra.stack import processes
from infra.stack.settings import PROJECT_ROOT, Settings
from jobs.ops import migration_runs
from pipelines.migration import declaration
from pipelines.simulation import legacy_desk
from tests.bench import migration_damage, migration_lookup, migration_seeds, migration_source, report_file
from tests.bench.scratch_stack import scratch_stack

REPORT = PROJECT_ROOT / "build" / "reports" / "migration.json"
ACCEPTED = {rule: "the old system held it by mistake; kept as a reject" for rule in legacy_desk.DIRT}
TARGETS = ("silver.interactions", "silver.feedback")
PARTS = ("kafka", "mariadb", "tiering", "serving-writer")
MEMORY_LIMIT_MB, SEEDS = 4_000, 20
console = Console(width=None if sys.stdout.isatty() else 120)


def declared(settings: Settings) -> Path:
    """The declaration as a file, as a person would write it."""
    stated = legacy_desk.declaration({"kind": "mysql", "url_variable": migration_source.URL_VARIABLE})
    file = settings.home / "old_desk.yaml"
    file.write_text(yaml.safe_dump(stated | {"accepted": ACCEPTED}, allow_unicode=True, sort_keys=False))
    return file


class Command:
    """`kefulake migrate …` as a process of its own, its memory watched; killed when told to."""

    def __init__(self, *arguments: str):
        began = time.perf_counter()
        self.peak_mb = 0.0
        kefulake = str(Path(sys.executable).parent / "kefulake")
        self._process = subprocess.Popen(
            [kefulake, "migrate", *arguments],
            cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._watched = psutil.Process(self._process.pid)
        threading.Thread(target=self._watch, daemon=True).start()
        self._began = began

    def _watch(self) -> None:
        while self._process.poll() is None:
            self.peak_mb = max(self.peak_mb, processes.resident_mb(self._watched))
            time.sleep(0.2)

    def kill_at(self, reached) -> bool:
        """SIGKILL once `reached()`; False when it ended before."""
        while self._process.poll() is None:
            if reached():
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
                return True
            time.sleep(0.05)
        return False

    def ended(self, *, expect: int = 0) -> tuple[str, float]:
        """What it said and how long it took. Raises RuntimeError when it ended otherwise than expected."""
        said, _ = self._process.communicate()
        if self._process.returncode != expect:
            raise RuntimeError(f"exit {self._process.returncode}, expected {expect}:\n{said}")
        return said, time.perf_counter() - self._began


def copy_with_kills(settings: Settings, file: Path, rows: int, chunk: int, kills: int, chance: random.Random) -> dict:
    """The full copy, killed at random places; seconds are those of all runs together."""
    migration = declaration.load(file)
    (table,) = migration.tables
    peak = wall = 0.0
    done_kills = 0
    places = sorted(chance.uniform(0.1, 0.9) * rows for _ in range(kills))
    for place in [*places, None]:
        command = Command("run", str(file), "--chunk-rows", str(chunk))
        began = time.perf_counter()
        delay = chance.uniform(0, 3)  # so that it is not always just after a commit of bronze

        def reached(place=place, delay=delay) -> bool:
            if migration_runs.received(settings, migration, table)[0] < place:
                time.sleep(0.5)
                return False
            time.sleep(delay)
            return True

        if place is not None:
            done_kills += command.kill_at(reached)
        else:
            command.ended()
        wall += time.perf_counter() - began
        peak = max(peak, command.peak_mb)
    return {
        "kills": done_kills,
        "resumes": done_kills,
        "copy_s": wall,
        "rows_per_s": rows / wall,
        "memory_peak_mb": peak,
    }


def certified(file: Path, settings: Settings, *, expect: int = 0, cut_over: bool = False) -> tuple[dict, float, float]:
    """Certificate, seconds and memory of making it."""
    arguments = ["cut-over", str(file), "--source-is-read-only"] if cut_over else ["certify", str(file)]
    command = Command(*arguments)
    _, seconds = command.ended(expect=expect)
    newest = max((settings.home / "migrations" / "old_desk").glob("certificate-*.json"))
    return json.loads(newest.read_bytes()), seconds, command.peak_mb


def damaged_and_found(settings: Settings, file: Path, seed: int) -> dict:
    """All five kinds planted at once, certified, and taken back again: what was found of it."""
    topic = "history.old_desk.fw_jl"
    versions = {
        name: DeltaTable(str(settings.table_path(name))).version()
        for name in ("silver.interactions", "silver.feedback")
    }
    planted = []
    for nth, kind in enumerate(migration_damage.KINDS):
        chance = random.Random(f"{seed}/{kind}")
        planted.append(migration_damage.plant(settings.table_path(list(versions)[nth % 2]), topic, kind, chance))
    stated, seconds, peak = certified(file, settings, expect=1)
    for name, version in versions.items():
        DeltaTable(str(settings.table_path(name))).restore(version)
    named = {d["key"]: (d["what"], tuple(d["columns"])) for d in stated["tables"][0]["differences"]["named"]}
    found = [one.kind for one in planted if all(named.get(k) == (w, tuple(c)) for k, (w, c) in one.expected.items())]
    beyond = set(named) - {key for one in planted for key in one.expected}
    figures = {"planted": len(planted), "found": len(found), "kinds": found, "false_alarms": len(beyond)}
    return figures | {"certify_s": seconds, "memory_peak_mb": peak}


def measure(settings: Settings, rows: int, seed: int, chunk: int) -> dict:
    """The whole way; raises where something is not as it must be."""
    chance = random.Random(seed)
    began = time.perf_counter()
    url, dirt = migration_source.load(settings, rows, seed, lambda done: console.print(f"loaded {done:,}"))
    os.environ[migration_source.URL_VARIABLE] = url
    figures = {"rows": rows, "seed": seed, "chunk_rows": chunk, "load_s": time.perf_counter() - began,
               "source_bytes": sum(f.stat().st_size for f in migration_source.data_files(settings))}  # fmt: skip
    phones = migration_lookup.phones(settings, chance)
    figures |= migration_lookup.before(settings, url, phones[:3])
    console.print(figures)
    file = declared(settings)
    figures |= copy_with_kills(settings, file, rows, chunk, 2, chance)
    console.print(figures)
    stated, seconds, peak = certified(file, settings)
    exceptions = {key: e["rule"] for e in stated["tables"][0]["exceptions"] for key in e["keys"]}
    figures |= {"accuracy": stated["accuracy"], "rejected": len(exceptions), "dirt_planted": len(dirt),
                "rejects_are_the_dirt": exceptions == dirt, "certify_s": seconds, "certify_memory_peak_mb": peak,
                "kpi_groups": stated["tables"][0]["figures"]["groups"],
                "balance": stated["tables"][0]["balance"]}  # fmt: skip
    console.print(figures)
    figures |= migration_lookup.after(settings, phones, url)
    console.print(figures)
    figures["damage"] = damage = damaged_and_found(settings, file, seed)
    figures["damage_over_seeds"] = small = migration_seeds.over_seeds(SEEDS)
    figures |= {name: damage[name] + small[name] for name in ("planted", "found")}
    console.print({name: figures[name] for name in ("damage", "damage_over_seeds")})
    ((now,),) = migration_source.ask(settings, "SELECT CAST(NOW() AS CHAR)")
    figures["written_later"] = migration_source.write_more(settings, rows, now)
    Command("run", str(file)).ended()
    last, seconds, _ = certified(file, settings, cut_over=True)
    figures |= {"cut_over_s": seconds, "cut_over_certified": last["certified"], "cut_over_accuracy": last["accuracy"]}
    figures["lake_bytes"] = {name: _bytes(settings.table_path(name)) for name in ("bronze.raw_events", *TARGETS)}
    figures["wall_s"] = time.perf_counter() - began
    figures["memory_peak_mb"] = max(figures["memory_peak_mb"], peak, damage["memory_peak_mb"])
    return figures


def _bytes(path: Path) -> int:
    table = DeltaTable(str(path))
    return sum(table.get_add_actions(flatten=True)["size_bytes"].to_pylist())


def main() -> None:
    """Measure, write the report, fail where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--chunk-rows", type=int, default=250_000)
    parser.add_argument("--keep", action="store_true", help="leave the folder build/migration-bench as it is")
    arguments = parser.parse_args()
    with scratch_stack(
        "migration-bench", only=["kafka", "mariadb", "tiering", "serving-writer"], keep=arguments.keep
    ) as settings:
        figures = measure(settings, arguments.rows, arguments.seed, arguments.chunk_rows)
    report_file.merge(REPORT, figures)
    shown = Table("figure", "value", box=None, header_style="bold")
    for name, value in figures.items():
        shown.add_row(name, f"{value:,.3f}" if isinstance(value, float) else str(value))
    console.print(shown)
    bars = (
        figures["accuracy"] >= 0.9999, figures["found"] == figures["planted"], figures["lookup_after_s"] <= 0.5,
        figures["memory_peak_mb"] <= MEMORY_LIMIT_MB, figures["cut_over_certified"], figures["lookup_rows_equal"],
    )  # fmt: skip
    sys.exit(0 if all(bars) else 1)


if __name__ == "__main__":
    main()
