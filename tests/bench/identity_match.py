"""Identity matching measured: FEBRL set 2 and a million synthetic people, beside plain Splink 4 (`splink_peer`).

``python -m tests.bench.identity_match [--only febrl|records|families|million] [--records N] [--rounds N]`` prints a
table and merges its figures into build/reports/identity.json. The rules and thresholds were chosen on FEBRL set 1
and on other seeds; our model is learned on set 1, the peer's on the set it is judged on. F, precision and recall are
pairwise over the clusters that the pairs close to; "automatic" is what is merged without a person; "records" is the
product's way on the CRM of simulated worlds. Needs the FEBRL files (KEFULAKE_DATA) for `febrl` only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines import contracts
from pipelines.identity import match_model, match_profiles, matching
from pipelines.identity.match_decisions import decide
from tests.bench import splink_peer
from tests.bench.bench_report import machine, verdict
from tests.bench.figures import ratio
from tests.bench.identity_records import of_worlds
from tests.bench.identity_truth import febrl, pairwise

FAMILY_RECORDS, WORLD_PERSONS = 100_000, 20_000
TARGETS = (
    ("febrl2_hidden_ssn_f", "≥", 0.998, None),
    ("febrl2_f", "≥", 0.999, None),
    ("febrl2_hidden_ssn_precision", "≥", 0.9995, None),
    ("million_ratio_to_splink", "≤", 1.0, 0.5),
    ("incremental_share", "≤", 0.05, None),
)


def of_febrl() -> dict[str, Any]:
    """Set 2 with and without its IDs, by our rules and by the peer's."""
    policy, placeholders = contracts.policy("matching"), contracts.policy("identity")["placeholders"]
    told: dict[str, Any] = {}
    for name, hide in (("febrl2", False), ("febrl2_hidden_ssn", True)):
        learned_on, _ = febrl(1, hide_national_id=hide)
        profiles, truth = febrl(2, hide_national_id=hide)
        model = match_model.train(match_profiles.features(learned_on, policy, placeholders), policy)
        pairs = matching.match_all(match_profiles.features(profiles, policy, placeholders), model, policy)
        found, merged = pairwise(pairs, truth), pairwise(decide(pairs, policy).merge, truth)
        beside = pairwise(splink_peer.run(profiles, national_id=not hide), truth)
        told |= {
            f"{name}_f": found["f"],
            f"{name}_precision": merged["precision"],
            f"{name}_automatic_recall": merged["recall"],
            f"splink_{name}_f": beside["f"],
            f"{name}_detail": {"all": found, "automatic": merged, "splink": beside},
        }
    return told


def of_people(records: int, rounds: int, *, family: float = 0.0) -> dict[str, Any]:
    """Both sides in turn, each in a process of its own, so that each has its own peak of memory."""
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        for side, told in sides.items():
            told.append(_side(side, records, family))
    return {side: told[0] | {"each_wall_s": [t["wall_s"] for t in told], "each_core_s": [t["core_s"] for t in told],
                             "wall_s": mean(t["wall_s"] for t in told), "core_s": mean(t["core_s"] for t in told),
                             "each_incremental_share": [t.get("incremental_share") for t in told]}
            for side, told in sides.items()}  # fmt: skip


def figures(steps: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the report from what was measured.

    >>> found = {"f": 0.99, "precision": 0.9999, "recall": 0.6}
    >>> side = {"wall_s": 10.0, "core_s": 20.0, "peak_memory_mb": 900, "all": found, "automatic": found,
    ...         "each_incremental_share": [0.04, 0.06]}
    >>> made = figures({"million": {"ours": side, "peer": side | {"wall_s": 20.0, "core_s": 80.0}}})
    >>> made["million_ratio_to_splink"], made["million_core_ratio_to_splink"], made["incremental_share"]
    (0.5, 0.25, 0.05)
    """
    made = dict(steps.get("febrl") or {}) | (steps.get("records") or {})
    if families := steps.get("families"):
        ours, peer = families["ours"], families["peer"]
        made |= {"families_f": ours["all"]["f"], "splink_families_f": peer["all"]["f"],
                 "families_automatic_precision": ours["automatic"]["precision"]}  # fmt: skip
    if million := steps.get("million"):
        ours, peer = million["ours"], million["peer"]
        made |= {
            "million_ratio_to_splink": ratio(ours["wall_s"], peer["wall_s"]),
            "million_core_ratio_to_splink": ratio(ours["core_s"], peer["core_s"]),
            "million_wall_s": ours["wall_s"],
            "splink_million_wall_s": peer["wall_s"],
            "million_peak_memory_mb": ours["peak_memory_mb"],
            "splink_million_peak_memory_mb": peer["peak_memory_mb"],
            "million_f": ours["all"]["f"],
            "splink_million_f": peer["all"]["f"],
            "million_automatic_precision": ours["automatic"]["precision"],
            "million_automatic_recall": ours["automatic"]["recall"],
            "incremental_share": round(mean(ours["each_incremental_share"]), 4),
        }
    return made | {f"{step}_sides": steps[step] for step in ("families", "million") if steps.get(step)}


def show(made: Mapping[str, Any], console: Console) -> None:
    """One table: what is wanted first, then everything else that is one number."""
    table = Table(title="Identity matching", header_style="bold")
    for column in ("figure", "measured", "wanted", ""):
        table.add_column(column, justify="right" if column in ("measured", "wanted") else "left")
    for figure, sign, bound, aim in TARGETS:
        said = verdict(made, figure, sign, bound, aim)
        colour = {"missed": "red", "not measured": "yellow"}.get(said, "green")
        table.add_row(figure, str(made.get(figure, "–")), f"{sign} {bound}", f"[{colour}]{said}[/]")
    for figure in made.keys() - {target[0] for target in TARGETS}:
        if isinstance(made[figure], int | float):
            table.add_row(figure, str(made[figure]), "", "")
    console.print(table)


def _side(side: str, records: int, family: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.identity_side", side, "--records", str(records)]
    ran = subprocess.run([*command, "--family", str(family)], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{side} on {records:,} records failed:\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def main(argv: list[str] | None = None) -> int:
    """Measure, write, print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("febrl", "records", "families", "million"), action="append")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side on the million (default 2)")
    parser.add_argument("--out", type=Path, default=Path("build/reports/identity.json"))
    args = parser.parse_args(argv)
    wanted = args.only or ["febrl", "records", "families", "million"]
    before, steps = machine(), {}
    if "febrl" in wanted:
        steps["febrl"] = of_febrl()
    if "records" in wanted:
        steps["records"] = of_worlds(WORLD_PERSONS)
    if "families" in wanted:
        steps["families"] = of_people(FAMILY_RECORDS, 1, family=0.25)
    if "million" in wanted:
        steps["million"] = of_people(args.records, args.rounds)
    made = figures(steps) | {"matching_machine": before, "matching_records": args.records}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(args.out.read_text()) if args.out.exists() else {}
    args.out.write_text(json.dumps(earlier | made, indent=1, ensure_ascii=False))
    show(made, Console())
    return int(any(verdict(made, *target) == "missed" for target in TARGETS))


if __name__ == "__main__":
    sys.exit(main())
