"""Harms files of a backup, one after the other: `kefulake restore` has to notice before it restores anything."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from infra.stack.settings import PROJECT_ROOT
from pipelines.backup import manifest
from pipelines.io import restore_needs

console = Console(highlight=False)


def unnoticed(folder: Path, sealed: Path, home: Path, seed: int) -> int:
    """A byte flipped, a file cut off, one gone, a line of the manifest changed: how many a restore took as sound."""
    pick, missed = random.Random(seed), 0
    harms = {
        "flipped": lambda raw, at: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :],
        "cut off": lambda raw, at: raw[:at],
        "gone": lambda raw, at: None,
    }
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix in (".parquet", ".json", ".sealed")
    )
    known = {line["path"] for line in restore_needs.needed(folder, manifest.read(folder))}
    chosen = [(what, pick.choice([f for f in files if str(f.relative_to(folder)) in known])) for what in harms]
    chosen.append(("flipped", manifest.file_of(folder, manifest.generations(folder)[-1])))
    for what, path in chosen:
        raw = path.read_bytes()
        harmed = harms[what](raw, pick.randrange(len(raw) // 2))
        path.unlink() if harmed is None else path.write_bytes(harmed)
        done = subprocess.run(
            [str(Path(sys.executable).parent / "kefulake"), "--home", str(home), "restore", "--to", "newest",
             "--from", str(folder), "--keys", str(sealed)],
            cwd=PROJECT_ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        path.write_bytes(raw)
        noticed = done.returncode != 0 and path.name in done.stderr and not (home / "lake").exists()
        console.print(f"  {what}: {path.name}: {'noticed' if noticed else '[red]NOT noticed[/]'}")
        missed += not noticed
    return missed
