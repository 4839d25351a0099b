"""The resolver in the simulated world: pair precision and continuity beside the baselines, on seeds nobody tuned on."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from pipelines import contracts
from pipelines.identity.changes import links_of
from pipelines.identity.evidence import customer_id_of
from pipelines.identity.resolve import resolve
from tests.bench.bench_report import machine
from tests.bench.identity_evidence import crm_records
from tests.bench.identity_score import Score
from tests.bench.identity_world import (
    CONTINUITY_BAR,
    DEVELOP_SEED,
    PRECISION_BAR,
    REPORT_SEEDS,
    TokenWorld,
    baseline_scores,
    score_resolution,
    show,
    token_world,
)

_DAY_US = 86_400_000_000


def resolver_evidence(found: TokenWorld, policy: dict[str, Any]) -> pl.DataFrame:
    """The world's evidence as the identity state holds it: records numbered by their first appearance.

    What the CRM still holds at the end of the world has no end; a set of one identifier links nothing and is no
    evidence; a channel vouches for what `policy` says and the message bears out. The CRM's names and birth dates are
    tokens beside its identifiers.
    """
    end_us = int(found.world.end_at.timestamp()) * 1_000_000
    frame = found.evidence.with_columns(pl.col("first_seen_at", "last_seen_at").dt.epoch("us"))
    in_force = (pl.col("source") == "crm") & (pl.col("last_seen_at") >= end_us)
    frame = frame.with_columns(pl.when(~in_force).then("last_seen_at").alias("last_seen_at"))
    frame = frame.filter((pl.col("source") == "crm") | (pl.len().over("record_key") > 1))
    vouched = [f"{channel}/{kind}" for channel, kinds in policy["attested_by_channel"].items() for kind in kinds]
    by_policy = pl.concat_str("source", pl.lit("/"), "token_type").is_in(vouched) | (pl.col("source") == "crm")
    frame = frame.with_columns(pl.col("attested") & by_policy)
    frame = pl.concat([frame, _about(found)])
    seqs = (
        frame.group_by("record_key").agg(pl.col("first_seen_at").min()).sort("first_seen_at", "record_key")
        .with_row_index("record_seq", offset=1).select("record_key", pl.col("record_seq").cast(pl.Int64))
    )  # fmt: skip
    return frame.join(seqs, on="record_key")


def _about(found: TokenWorld) -> pl.DataFrame:
    """Name and birth date of each CRM record as last told, as evidence rows."""
    last = found.world.crm.sort("customer_no", "revision").unique("customer_no", keep="last", maintain_order=True)
    keys = crm_records(found.world, found.key)
    rows = last.join(keys, left_on="customer_no", right_on="item").with_columns(
        pl.col("updated_at").dt.epoch("us").alias("first_seen_at")
    )
    kinds = (("person_name", "name"), ("birth_date", "birth_date"))
    return pl.concat(
        rows.select(
            "record_key", pl.lit("crm").alias("source"),
            found.tokeniser.tokens(rows[column], kind).alias("token"), pl.lit(kind).alias("token_type"),
            pl.lit(True).alias("attested"), "first_seen_at", pl.lit(None, pl.Int64).alias("last_seen_at"),
            pl.lit(1, pl.Int64).alias("sightings"),
        ).drop_nulls("token")
        for kind, column in kinds
    )  # fmt: skip


def record_pairs(found: TokenWorld, evidence: pl.DataFrame, members: pl.DataFrame, policy: dict[str, Any]) -> dict:
    """Pairs of source records under one customer, and how many of them are of two persons.

    `merged`: records that somebody vouches for (CRM records, platform accounts): these pairs are what the resolver
    joins. `with_typed`: also those that only follow (a browser that typed a phone number once). The person of a set of
    identifiers is who used it most.
    """
    person = found.truth.select("item", "person")
    of_sets = found.contacts.join(person, left_on="contact_id", right_on="item").drop_nulls("record_key")
    mostly = of_sets.group_by("record_key", "person").len("n").sort("n", "person", descending=[True, False])
    of_sets = mostly.unique("record_key", keep="first").select("record_key", "person")
    of_crm = crm_records(found.world, found.key).join(person, on="item").select("record_key", "person")
    rows = pl.concat([of_sets, of_crm]).join(members, on="record_key")
    for_good = pl.col("attested") & pl.col("token_type").is_in(policy["for_good"])
    vouched = evidence.filter((pl.col("source") == "crm") | for_good)["record_key"].unique()
    told = {}
    for name, some in (("merged", rows.filter(pl.col("record_key").is_in(vouched.implode()))), ("with_typed", rows)):
        said, right = (_pairs(some.group_by(keys).len("n")) for keys in (["customer_id"], ["customer_id", "person"]))
        told[name] = {"pairs": said, "wrong": said - right, "precision": right / said}
    return told


def _pairs(counts: pl.DataFrame) -> int:
    n = counts["n"].cast(pl.Int64)
    return int((n * (n - 1) // 2).sum())


def judged(found: TokenWorld, policy: dict[str, Any]) -> tuple[Score, dict, float]:
    """The resolver's score over contacts and records, its pairs of records, and the seconds `resolve` took."""
    evidence = resolver_evidence(found, policy)
    began = time.perf_counter()
    resolution = resolve(evidence, [], policy)
    took_s = time.perf_counter() - began
    stretches = [link for of in links_of(resolution, evidence).values() for link in of]
    owners = pl.DataFrame(
        [(s.token, s.customer_id, s.valid_from_at, s.valid_to_at) for s in stretches],
        schema={"token": pl.String, "customer_id": pl.String, "valid_from_at": pl.Int64, "valid_to_at": pl.Int64},
        orient="row",
    ).with_columns(pl.from_epoch(name, "us").dt.replace_time_zone("UTC") for name in ("valid_from_at", "valid_to_at"))
    members = pl.DataFrame(
        [(record, customer_id_of(oldest)) for record, oldest in resolution.members.items()],
        schema={"record_key": pl.String, "customer_id": pl.String},
        orient="row",
    )
    return score_resolution(found, owners, members), record_pairs(found, evidence, members, policy), took_s


def figures(persons: int, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The lowest figures over the seeds, and each seed's; prints the tables.

    `sim_pair_precision` is over pairs of merged source records, `sim_continuity` over the contacts that perfect guards
    would place; both stand beside the stricter ones: pairs with followers, pairs of contacts, all identified contacts.
    """
    policy = contracts.policy("identity")["resolution"]
    each = []
    for seed in seeds:
        found = token_world(seed, persons)
        ours, pairs, took_s = judged(found, policy)
        title = f"{persons:,} persons, seed {seed}, resolved in {took_s:.1f} s"
        baselines = baseline_scores(found)
        show(title, found, baselines | {"resolver": ours})
        each.append(
            {
                "seed": seed,
                "pairs": pairs,
                "contact_pair_precision": ours.pair_precision,
                "contact_pair_recall": ours.pair_recall,
                "continuity": ours.continuity,
                "continuity_joinable": ours.continuity_joinable,
                "resolve_s": round(took_s, 2),
                "baselines": {name: [one.pair_precision, one.continuity] for name, one in baselines.items()},
            }
        )
    lowest = {
        "sim_pair_precision": min(one["pairs"]["merged"]["precision"] for one in each),
        "sim_pair_precision_with_typed": min(one["pairs"]["with_typed"]["precision"] for one in each),
        "sim_pair_precision_of_contacts": min(one["contact_pair_precision"] for one in each),
        "sim_continuity": min(one["continuity_joinable"] for one in each),
        "sim_continuity_of_all_identified": min(one["continuity"] for one in each),
    }
    bars = {"sim_pair_precision": PRECISION_BAR, "sim_continuity": CONTINUITY_BAR}
    table = Table("figure", "lowest of the seeds", "bar", title=f"Resolver, {persons:,} persons, seeds {seeds}")
    for name, value in lowest.items():
        bar = bars.get(name)
        table.add_row(name, f"{value:.5f}", "" if bar is None else f"≥ {bar} {'reached' if value >= bar else 'MISSED'}")
    Console().print(table)
    return lowest | {"sim_persons": persons, "sim_seeds": each}


def main(argv: list[str] | None = None) -> int:
    """Print the tables; `--develop` uses the seed that rules are tuned on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=20_000)
    parser.add_argument("--develop", action="store_true", help=f"seed {DEVELOP_SEED} instead of {REPORT_SEEDS}")
    parser.add_argument("--out", type=Path, default=Path("build/reports/identity.json"))
    args = parser.parse_args(argv)
    made = figures(args.persons, (DEVELOP_SEED,) if args.develop else REPORT_SEEDS)
    if not args.develop:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        earlier = json.loads(args.out.read_text()) if args.out.exists() else {}
        args.out.write_text(json.dumps(earlier | made | {"sim_machine": machine()}, indent=1, ensure_ascii=False))
    missed = made["sim_pair_precision"] < PRECISION_BAR or made["sim_continuity"] < CONTINUITY_BAR
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
