"""What `kefulake identity` prints: a customer's card, the pairs that wait for a person, what a decision changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
from rich.console import Console
from rich.table import Table

from pipelines.identity.changes import Link
from pipelines.io.identity_reads import Card, Review
from pipelines.io.identity_store import Outcome

_RULES = {
    "attested": "vouched for",
    "typed": "typed, seen with this customer only",
    "shared": "held by several at once: links nobody",
    "shared_by_others": "stands in the forms of many: links nobody",
    "crowded": "in too many records: links nobody",
}
_WORDS = {"must": "one person", "cannot": "two persons", "may": "no word any more"}


def day(us: int | None, otherwise: str = "") -> str:
    """An instant in microseconds as people read it, UTC.

    >>> day(1_767_916_800_000_000), day(None, "today"), day(0)
    ('2026-01-09 00:00', 'today', 'ever')
    """
    if us is None:
        return otherwise
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us):%Y-%m-%d %H:%M}" if us else "ever"


def show(found: Card, console: Console) -> None:
    """The card: source records, identifiers, decisions, and what was kept apart."""
    sources = found.claims["source"].unique().sort().to_list()
    console.print(f"[bold]{found.customer_id}[/] over {len(sources)} sources: {', '.join(sources)}")
    console.print(_records(found))
    console.print(_links(found.links))
    for word in found.decisions:
        pair = f"{word.record_key} and {word.other_record_key}"
        console.print(
            f"  {word.recorded_at:%Y-%m-%d %H:%M} {word.actor}: {pair} are {_WORDS[word.decision]} ({word.reason})",
            highlight=False,
        )
    for review in found.reviews:
        pair = f"{review.record_key} and {review.other_record_key}"
        console.print(f"  kept apart, waits for a person: {pair} ({review.review_origin})", highlight=False)


def _records(found: Card) -> Table:
    table = Table("source record", "source", "carries", "since", "until", title="Source records, the oldest names it")
    for record in found.claims["record_key"].unique(maintain_order=True):
        of = found.claims.filter(found.claims["record_key"] == record)
        carries = [f"{kind}{'' if sure else '?'}" for kind, sure in of.select("token_type", "attested").iter_rows()]
        until = None if of["last_seen_at"].null_count() else of["last_seen_at"].max()
        table.add_row(record, of["source"][0], " ".join(carries), day(of["first_seen_at"].min()), day(until, "today"))
    table.caption = "? = typed by somebody; nobody vouches for it"
    return table


def _links(links: list[Link]) -> Table:
    table = Table("identifier", "type", "from", "to", "why", "seen in", title="Identifiers")
    for link in sorted(links, key=lambda link: (link.token_type, link.token, link.stretch)):
        until = day(link.valid_to_at, "today")
        table.add_row(
            link.token, link.token_type, day(link.valid_from_at), until, _RULES[link.link_rule], link.evidence
        )  # fmt: skip
    return table


def show_reviews(reviews: list[Review], console: Console) -> None:
    """The pairs, and how to decide on one."""
    names = ("since", "why", "probability", "pair", "customers today", "agreement")
    table = Table(*names, title=f"{len(reviews)} pairs wait")
    for review in reviews:
        likely = "" if review.match_probability is None else f"{review.match_probability:.4f}"
        customers = f"{review.customer_id or '-'}\n{review.other_customer_id or '-'}"
        pair = f"{review.record_key}\n{review.other_record_key}"
        since, agree = f"{review.proposed_at:%Y-%m-%d %H:%M}", agreement(review.evidence)
        table.add_row(since, review.review_origin, likely, pair, customers, agree)
    console.print(table)
    if reviews:
        console.print("kefulake identity review --accept|--reject --pair A B --reason WHY --actor YOU")


def agreement(evidence: str | None) -> str:
    """Why matching asks about a pair, and how far each comparison agrees, a line each.

    >>> agreement('{"asked_because":"differs: given_name","given_name":"different","birth_date":"exact"}')
    'differs: given_name\\ngiven_name different\\nbirth_date exact'
    """
    said = json.loads(evidence) if evidence else {}
    because = [said.pop("asked_because")] if "asked_because" in said else []
    return "\n".join([*because, *(f"{name} {level}" for name, level in said.items())])


def show_cardinality(found: pl.DataFrame, console: Console) -> None:
    """A line a kind of identifier, with the verdict and why."""
    names = (
        "identifier",
        "distinct",
        "records",
        "records each (p50, p99, max)",
        "two owners",
        "hubs",
        "verdict",
        "why",
    )
    table = Table(*names, title="May it be used for linking?")
    for row in found.iter_rows(named=True):
        each = " ".join(f"{row[f'records_per_token_{at}']:,}" for at in ("p50", "p99", "max"))
        counts = (f"{row[name]:,}" for name in ("contested_tokens", "hub_tokens"))
        table.add_row(
            row["token_type"], f"{row['tokens']:,}", f"{row['records']:,}", each, *counts,
            row["verdict"].replace("_", " "), row["reason"] or "",
        )  # fmt: skip
    console.print(table)


def show_outcome(outcome: Outcome, console: Console, *, dry_run: bool) -> None:
    """What a decision changed, customer by customer."""
    table = Table("what", "customer", "other", "records that moved", title="Would change" if dry_run else "Changed")
    for event in outcome.changes.events:
        table.add_row(event.identity_event_type, event.customer_id, event.other_customer_id, event.record_keys)
    console.print(table)
    links = len(outcome.changes.links)
    if outcome.changes.events:
        console.print(
            f"{links:,} identifiers lead elsewhere; the running job knows within seconds, gold when built next"
        )
    else:
        console.print("Nothing changed: the customers were as decided already.")
