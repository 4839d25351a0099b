"""`kefulake keys`: a new master-key version without a stop, what still needs an old one, and letting it go."""

from __future__ import annotations

import os
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.files import write_json
from infra.stack.settings import Settings
from jobs.ops.auditing import audit_log, write_down
from pipelines.backup.places import keys_folder
from pipelines.io import vault_topic
from pipelines.io.backup_keys import keep_retired
from pipelines.io.key_versions import SEALED, versions_in
from pipelines.lineage.hooks import told_as_run
from pipelines.privacy.keys import ENVIRONMENT_VARIABLE, MasterKey, MasterKeyError, add_version, drop_version

REPORT = "build/reports/keys.json"
# Entries that a checkpoint commits while we read were made before their writer saw the new version: seconds later they
# are readable too. A round finds them; what is left after these rounds `keys rotate --no-new-version` takes.
MOST_ROUNDS = 5
app = typer.Typer(no_args_is_help=True, help="Versions of the master key: rotate, see what needs which, retire.")


@app.callback()
def _keys() -> None:
    """Versions of the master key: rotate, see what needs which, retire."""


@app.command()
@told_as_run("keys")
def rotate(
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit log.")] = "scheduled",
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in.")] = "privacy_officer",
    new_version: Annotated[bool, typer.Option(help="Without: only finish what an earlier rotation left.")] = True,
) -> None:
    """Add a version and wrap the vault's entries by it. Nothing is stopped; tokens stay what they are.

    Running workers wrap by it from their next batch on. Old versions stay readable until `keys retire`.
    """
    settings, console = Settings.load(), Console(highlight=False)
    _own_file()
    with vault_topic.locked(settings.keys):
        before = MasterKey.load(settings).version
        after = before + 1 if new_version else before
        write_down(settings, "rotate_keys", f"version {after}", role=role, reason=reason, detail={"before": before})
        if new_version:
            after = add_version(settings.keys_file)
        key, rounds = MasterKey.load(settings), []
        while len(rounds) < MOST_ROUNDS and (done := vault_topic.wrap_anew(settings.bootstrap, key)):
            rounds.append(done)
        left = vault_topic.newest(settings.bootstrap).versions
    console.print(f"Master key version {after} wraps what is written now; {sum(rounds):,} entries were wrapped anew.")
    old = sum(count for version, count in left.items() if version not in (0, after))
    if old:
        console.print(f"{old:,} entries that came meanwhile still wait: kefulake keys rotate --no-new-version")
    _report(settings, {"identity.vault": left}, rounds)


@app.command()
def status() -> None:
    """What stands under which version: newest vault entries, sealed bytes of bronze, rejects and review, audit rows."""
    settings = Settings.load()
    counts = standing(settings)
    key = MasterKey.load(settings)
    print_standing(counts, key, Console())
    _report(settings, counts, [])


@app.command()
def retire(
    version: Annotated[int, typer.Argument(help="Version to take out of the key file.")],
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit log.")],
    role: Annotated[str, typer.Option(envvar="KEFULAKE_ROLE", help="Role you act in.")] = "privacy_officer",
) -> None:
    """Take an old version out of the key file, once nothing stands under it any more; says what still does.

    Sealed among the backup's keys it stays: a restore to a round from before needs it.
    """
    settings, console = Settings.load(), Console(highlight=False)
    _own_file()
    with vault_topic.locked(settings.keys):
        needs = {name: counts[version] for name, counts in standing(settings).items() if counts[version]}
        if needs:
            listed = ", ".join(f"{name} {count:,}" for name, count in needs.items())
            typer.echo(f"Version {version} has to stay; under it stand: {listed}.", err=True)
            raise typer.Exit(1)
        write_down(settings, "rotate_keys", f"version {version}", role=role, reason=reason, detail={"retired": version})
        kept = version in MasterKey.load(settings).versions and keep_retired(settings, version)
        drop_version(settings.keys_file, version)
    aside = f" A restore to a round from before finds it sealed in {keys_folder(settings)}." if kept else ""
    console.print(f"Version {version} is gone from {settings.keys_file}.{aside}")


def standing(settings: Settings) -> dict[str, Counter]:
    """Rows by key version, by what holds them. Version 0 is a removed vault entry: it needs no key."""
    counts = {"identity.vault": vault_topic.newest(settings.bootstrap).versions}
    counts |= {name: versions_in(settings.table_path(name), column) for name, column in SEALED.items()}
    counts["audit.log"] = Counter(row.key_version for row in audit_log(settings).rows())
    return counts


def print_standing(counts: dict[str, Counter], key: MasterKey, console: Console) -> None:
    """A line a version, a column a holder."""
    table = Table("version", *counts, "", title="What stands under which master-key version")
    for version in sorted({*key.versions, *(v for found in counts.values() for v in found if v)}):
        rows = [f"{found[version]:,}" for found in counts.values()]
        note = "wraps what is written now" if version == key.version else ""
        if version == key.token_version:
            note = f"{note}; makes the tokens".lstrip("; ")
        if version not in key.versions:
            note = "[red]not in the key file[/]"
        elif not note and not any(found[version] for found in counts.values()):
            note = f"can go: kefulake keys retire {version}"
        table.add_row(str(version), *rows, note)
    console.print(table)


def _own_file() -> None:
    if os.environ.get(ENVIRONMENT_VARIABLE):
        raise MasterKeyError(
            f"The key comes from {ENVIRONMENT_VARIABLE}, which running processes cannot follow. Add the version there "
            "(1:base64,2:base64) and start the services again."
        )


def _report(settings: Settings, counts: dict[str, Counter], rounds: list[int]) -> None:
    found = {name: {str(v): n for v, n in sorted(versions.items())} for name, versions in counts.items()}
    write_json(settings.project_root / REPORT, {"standing": found, "wrapped_anew": rounds})
