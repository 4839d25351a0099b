"""`kefulake identity`: fill the identity map from a CRM file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.identity.crm_import import CrmLinks, changes, crm_links, read_rows
from pipelines.io.compacted_tail import CompactedTail
from pipelines.io.publisher import publish
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import VaultWriter

MAP_TOPIC, VAULT_TOPIC = "identity.map", "identity.vault"
app = typer.Typer(no_args_is_help=True, help="Who is who: load and show the identity map.")


@app.callback()
def _identity() -> None:
    """Who is who: load and show the identity map."""


@app.command()
def load(
    crm_file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CRM export, CSV.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, write nothing.")] = False,
) -> None:
    """Link verified phones, unionids and member numbers of a CRM file to coded customer IDs.

    The running cleaning job joins by the new map within seconds. Loading the same file again changes nothing.
    """
    settings = Settings.load()
    report, records = load_file(settings, crm_file, now_us=time.time_ns() // 1000, dry_run=dry_run)
    show(report, records, dry_run=dry_run)


def load_file(
    settings: Settings, crm_file: Path, *, now_us: int, dry_run: bool = False
) -> tuple[CrmLinks, list[tuple[str, bytes | None]]]:
    """Read, compare with the topic, write the difference; the vault entries first, so that no link lacks its value."""
    key = MasterKey.load(settings)
    policy = contracts.policy("identity")
    vault = VaultWriter(key)
    tokeniser = Tokeniser(key, placeholders=policy["placeholders"], on_new=vault.add)
    links = crm_links(read_rows(crm_file), tokeniser, key)
    current = current_links(settings.bootstrap)
    records = changes(links, current, rule_version=policy["version"], valid_from_us=now_us)
    if not dry_run:
        changed = {token for token, value in records if value is not None}
        entries = [(token, entry.encode()) for token, entry in vault.drain() if token in changed]
        publish(settings.bootstrap, VAULT_TOPIC, entries)
        publish(settings.bootstrap, MAP_TOPIC, records)
    return links, records


def current_links(bootstrap: str) -> dict[str, tuple[str, str]]:
    """The map as it stands in the topic: token → (customer_id, evidence)."""
    tail = CompactedTail(bootstrap, MAP_TOPIC)
    links: dict[str, tuple[str, str]] = {}
    try:
        for records in tail.load_to_end():
            for token, value in records:
                if value is None:
                    links.pop(token, None)
                else:
                    link = orjson.loads(value)
                    links[token] = (link["customer_id"], link.get("evidence") or "")
    finally:
        tail.close()
    return links


def show(report: CrmLinks, records: list[tuple[str, bytes | None]], *, dry_run: bool) -> None:
    """Print what was linked and what was left out, and why."""
    added = sum(value is not None for _, value in records)
    rows = [
        ("rows read", report.rows, ""),
        ("customers", report.customers, ""),
        ("identifiers that link", len(report.links), "verified phone, unionid, member number"),
        ("new or changed links", added, "would be written" if dry_run else "written to identity.map"),
        ("links removed", len(records) - added, "no longer in the CRM file, or now claimed twice"),
        ("phones not verified", report.unverified_phones, "left out: nobody has shown that the number is theirs"),
        ("placeholders", sum(report.placeholders.values()), "left out: 13800000000, 0000, 无 …"),
        ("claimed by two customers", len(report.conflicts), "left out: neither is linked"),
    ]
    table = Table("what", "number", "note", title="Identity map")
    for what, number, note in rows:
        table.add_row(what, f"{number:,}", note)
    console = Console()
    console.print(table)
    for token, owners in list(report.conflicts.items())[:10]:
        console.print(f"  conflict: {token} is claimed by {', '.join(owners)}", highlight=False)
