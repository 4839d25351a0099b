"""The world that identity resolution is judged by: its composition, the baselines and the ceiling as tables.

``python -m tests.bench.identity_world --persons 20000 --seed 11`` writes build/reports/identity_world.json. Rules are
developed on DEVELOP_SEED; what is reported comes from REPORT_SEEDS, which nobody may look at while tuning.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from pipelines import contracts
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.simulation.identity_rates import Rates
from pipelines.simulation.identity_world import World, build
from tests.bench import identity_baselines as baselines
from tests.bench.identity_evidence import assigned_by_owners, contacts_with_tokens, crm_records, evidence
from tests.bench.identity_score import Score, held_contacts, score

DEVELOP_SEED = 11
REPORT_SEEDS = (101, 102, 103)
PRECISION_BAR, CONTINUITY_BAR = 0.999, 0.97


@dataclass(frozen=True)
class TokenWorld:
    """A world in tokens: what the resolver gets (`evidence`, `contacts`), and the truth for the scorer."""

    world: World
    truth: pl.DataFrame  # as World.truth, and joinable: whether perfect guards put the contact under the right ID
    contacts: pl.DataFrame  # see identity_evidence.contacts_with_tokens
    evidence: pl.DataFrame  # see identity_evidence.EVIDENCE
    tokeniser: Tokeniser
    key: MasterKey


def token_world(seed: int, persons: int, *, months: int = 24, rates: Rates | None = None) -> TokenWorld:
    """The world of that seed under a key of zeros and the shipped policies.

    >>> small = token_world(1, 60)
    >>> set(small.evidence["source"].unique()) >= {"crm", "phone"}, small.contacts["contact_id"].is_unique().all()
    (True, True)
    """
    world, key = build(seed, persons, months=months, rates=rates), MasterKey({1: bytes(32)})
    tokeniser = Tokeniser(key, placeholders=contracts.policy("identity")["placeholders"])
    contacts = contacts_with_tokens(world, tokeniser, key, contracts.policy("privacy")["scoped_by_channel"])
    rows = evidence(world, contacts, tokeniser, key)
    held = held_contacts(world.truth, baselines.ceiling(world, contacts, rows, key))
    truth = world.truth.with_columns(joinable=pl.col("item").is_in(held.implode()))
    return TokenWorld(world, truth, contacts, rows, tokeniser, key)


def baseline_scores(found: TokenWorld) -> dict[str, Score]:
    """The score of each baseline and of the ceiling, by the name it is shown under."""
    world, contacts, rows, key, truth = found.world, found.contacts, found.evidence, found.key, found.truth
    return {
        "any shared identifier": score(truth, baselines.any_shared_identifier(world, contacts, rows, key)),
        "CRM import, exact": score(truth, baselines.crm_exact(world, contacts, found.tokeniser, key)),
        "ceiling: perfect guards": score(truth, baselines.ceiling(world, contacts, rows, key)),
    }


def score_resolution(found: TokenWorld, owners: pl.DataFrame, of_records: pl.DataFrame) -> Score:
    """The score of a resolver: `owners` as in `assigned_by_owners`, `of_records` with record_key and customer_id.

    Contacts go to the owner of their best token at their time, by the order of policy identity; CRM records go where
    the resolver put them. Records of other sources are not scored: their contacts are.
    """
    policy = contracts.policy("identity")
    orders = {name: policy[name] for name in ("precedence", "provisional")}
    contacts = assigned_by_owners(found.contacts, owners, **orders)
    records = crm_records(found.world, found.key).join(of_records, on="record_key").select("item", "customer_id")
    return score(found.truth, pl.concat([contacts, records]))


def composition(found: TokenWorld) -> pl.DataFrame:
    """trap, persons, contacts, records: how much of each hard case there is."""
    kind = pl.col("kind")
    return (
        found.world.truth.group_by("trap")
        .agg(
            persons=pl.col("person").n_unique(),
            contacts=(kind == "contact").sum(),
            records=(kind == "record").sum(),
        )
        .sort("contacts", descending=True)
    )


def share(value: float | None, digits: int = 3) -> str:
    """A share as a percentage; "–" where nothing was counted."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def show(title: str, found: TokenWorld, scores: dict[str, Score]) -> None:
    """Print composition, scores, and what each trap costs under each assignment."""
    console = Console()
    parts = Table("trap", "persons", "contacts", "CRM records", title=title)
    for row in composition(found).iter_rows():
        parts.add_row(row[0], *(f"{count:,}" for count in row[1:]))
    console.print(parts)
    columns = ("assignment", "precision", "recall", "continuity", "of joinable", "wrong pairs", "merges", "splits")
    bars = f"Bars: pair precision {share(PRECISION_BAR, 1)}, continuity {share(CONTINUITY_BAR, 1)}"
    table = Table(*columns, title=bars)
    for name, one in scores.items():
        shares = (one.pair_precision, one.pair_recall, one.continuity, one.continuity_joinable)
        counts = (one.pairs_said - one.pairs_right, one.wrong_merges, one.wrong_splits)
        table.add_row(name, *(share(value, 2) for value in shares), *(f"{count:,}" for count in counts))
    console.print(table)
    costs = Table("trap", *scores, title="Wrong pairs and missed pairs by trap")
    cells = {
        (name, row["trap"]): f"{row['merged_pairs']:,.0f} / {row['split_pairs']:,.0f}"
        for name, one in scores.items()
        for row in one.by_trap.to_dicts()
    }
    for trap in composition(found)["trap"]:
        costs.add_row(trap, *(cells[name, trap] for name in scores))
    console.print(costs)
    contacts = next(iter(scores.values()))
    console.print(
        f"{contacts.contacts:,} contacts, {contacts.contacts - contacts.identified_contacts:,} of them carry no "
        f"identifier and are excluded from continuity; {len(found.evidence):,} evidence rows"
    )


def report(scores: dict[str, Score]) -> dict[str, dict]:
    """The scores as plain values for the JSON report."""
    return {name: asdict(one) | {"by_trap": one.by_trap.to_dicts()} for name, one in scores.items()}


def main(argv: list[str] | None = None) -> int:
    """Build, score, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=20_000, help="real persons (default 20,000)")
    parser.add_argument("--seed", type=int, default=DEVELOP_SEED, help=f"default {DEVELOP_SEED}, the seed to tune on")
    parser.add_argument("--out", type=Path, default=Path("build/reports/identity_world.json"))
    args = parser.parse_args(argv)
    found = token_world(args.seed, args.persons)
    scores = baseline_scores(found)
    show(f"{args.persons:,} persons, seed {args.seed}", found, scores)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    told = {"seed": args.seed, "persons": args.persons, "composition": composition(found).to_dicts()}
    args.out.write_text(json.dumps(told | {"scores": report(scores)}, indent=1, ensure_ascii=False))
    Console().print(f"written to {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
