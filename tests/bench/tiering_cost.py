"""What a row costs the tiering service: CPU microseconds to read, to turn into Arrow and to append, table by table.

``python -m tests.bench.tiering_cost --rows 200000`` starts a broker of its own in a temporary folder. CPU time of the
whole process (all threads), not wall time: it says the same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.stack import lifecycle, ports
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines import contracts
from pipelines.io.committed_log import Collected
from pipelines.io.delta import Move
from pipelines.io.tiering_service import open_table, table_stream
from pipelines.privacy.keys import MasterKey
from tests.bench.scripted_cleaning import Traffic

REPORT = PROJECT_ROOT / "build" / "reports" / "tiering_cost.json"
TABLES = ("bronze.raw_events", "silver.interactions")
BATCH_ROWS = 50_000


def cost_of(settings: Settings, name: str, policy: dict) -> dict[str, float]:
    """Microseconds of CPU a row for each step, over everything the table's topics hold."""
    stream = table_stream(settings, name, policy, MasterKey.load(settings))
    store, log, converter = open_table(settings, name, policy), stream._log, stream._converter
    sources = log.sources()
    converter.sources_are(sources)
    log.start_at(dict.fromkeys(sources, 0))
    spent, rows, position = {"read": 0.0, "arrow": 0.0, "append": 0.0}, 0, None
    while not log.at_end():
        began = time.process_time()
        held = log.collect(Collected(), max_rows=BATCH_ROWS, max_bytes=1 << 26, wait_s=5)
        read = time.process_time()
        table = converter.rows(held.messages).table
        turned = time.process_time()
        store.append(table, {"cost": Move(position, (position or 0) + 1)})
        position, rows = (position or 0) + 1, rows + table.num_rows
        for step, seconds in (
            ("read", read - began),
            ("arrow", turned - read),
            ("append", time.process_time() - turned),
        ):
            spent[step] += seconds
    log.close()
    return {step: round(seconds / rows * 1e6, 2) for step, seconds in spent.items()} | {"rows": rows}


def main(argv: list[str] | None = None) -> int:
    """Prints and writes the figures."""
    parser = argparse.ArgumentParser(prog="tiering_cost", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kefulake-cost-") as home:
        settings = Settings.load(home, ports.free_base(25_000))
        os.environ["KEFULAKE_HOME"] = home
        try:
            lifecycle.up(settings, only=["kafka"], extra=None, tell=lambda *_: None)
            traffic = Traffic(settings.bootstrap, ["raw.app", "raw.web_chat"], seed=1)
            for _ in range(args.rows // 5000):
                traffic.round(5000, abort_share=0)
            policy = contracts.policy("tiering")
            costs = {name: cost_of(settings, name, policy) for name in TABLES}
        finally:
            lifecycle.down(settings, lambda *_: None)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    table = Table(title=f"CPU microseconds a row (peak memory {peak_mb} MB)")
    for column in ("table", "read", "arrow", "append", "rows"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for name, cost in costs.items():
        table.add_row(name, *(str(cost[step]) for step in ("read", "arrow", "append", "rows")))
    Console().print(table)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    Path(REPORT).write_text(json.dumps(costs | {"peak_memory_mb": peak_mb}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
