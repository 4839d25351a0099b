"""One side of the identity bench on synthetic people, in a process of its own: its time, memory, and how right it is.

``python -m tests.bench.identity_side ours --records 1000000`` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import polars as pl

from pipelines import contracts
from pipelines.identity import match_model, match_profiles, matching
from pipelines.identity.match_decisions import decide
from tests.bench import splink_peer
from tests.bench.identity_people import people
from tests.bench.identity_truth import pairwise

SEED = 4_711  # not among the seeds the rules were chosen with
NEW_SHARE = 0.01  # 10,000 new records for a million
PEER_BOUNDS = (0.5, 0.9, 0.99, 0.999)


def ours(profiles: pl.DataFrame, new: pl.DataFrame, truth: pl.DataFrame) -> dict[str, Any]:
    """A full run over `profiles`, then `new` beside them."""
    policy = contracts.policy("matching")
    placeholders = contracts.policy("identity")["placeholders"]
    default = contracts.policy("matching_model")
    spent: dict[str, Any] = {}
    frame = _timed(spent, "features", lambda: match_profiles.features(profiles, policy, placeholders))
    model = _timed(spent, "train", lambda: match_model.train(frame, policy, default))
    pairs = _timed(spent, "match", lambda: matching.match_all(frame, model, policy))
    decided = _timed(spent, "decide", lambda: decide(pairs, policy))
    peak_mb = _peak_mb()
    full = {unit: sum(step[unit] for step in spent.values()) for unit in ("wall_s", "core_s")}
    with_new = _timed(
        spent,
        "new",
        lambda: matching.match_new(match_profiles.features(new, policy, placeholders), frame, model, policy),
    )
    known = truth.filter(pl.col("record_id").is_in(profiles["record_id"].implode()))
    all_found, automatic = pairwise(pairs, known), pairwise(decided.merge, known)
    return full | {
        "steps": spent,
        "peak_memory_mb": peak_mb,
        "incremental_share": round(spent["new"]["wall_s"] / full["wall_s"], 4),
        "incremental_core_share": round(spent["new"]["core_s"] / full["core_s"], 4),
        "new_records": len(new),
        "new_pairs": len(with_new),
        "all": all_found,
        "automatic": automatic,
        "review": len(decided.review),
        "household_bits": model["household_bits"],
    }


def peer(profiles: pl.DataFrame, truth: pl.DataFrame) -> dict[str, Any]:
    """Plain Splink over the same profiles; judged at its own threshold and at the best of four."""
    spent: dict[str, Any] = {}
    pairs = _timed(spent, "full", lambda: splink_peer.run(profiles, rules=splink_peer.RULES_OF_MANY))
    known = truth.filter(pl.col("record_id").is_in(profiles["record_id"].implode()))
    peak_mb = _peak_mb()
    by_bound = {str(b): pairwise(pairs.filter(pl.col("match_probability") >= b), known) for b in PEER_BOUNDS}
    best = max(by_bound.values(), key=lambda found: found["f"])
    return spent["full"] | {"peak_memory_mb": peak_mb, "all": best, "by_bound": by_bound}


def _timed(spent: dict[str, Any], name: str, work: Callable[[], Any]) -> Any:
    began, cores = time.perf_counter(), time.process_time()
    done = work()
    spent[name] = {
        "wall_s": round(time.perf_counter() - began, 2),
        "core_s": round(time.process_time() - cores, 2),
    }
    return done


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(argv: list[str] | None = None) -> int:
    """Run one side; print what it took as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=("ours", "peer"))
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--family", type=float, default=0.0, help="share of persons who live with the one before")
    args = parser.parse_args(argv)
    count = round(args.records * (1 + NEW_SHARE))
    everybody, truth = people(count, SEED, family=args.family)
    profiles, new = everybody[: args.records], everybody[args.records :]
    told = ours(profiles, new, truth) if args.side == "ours" else peer(profiles, truth)
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
