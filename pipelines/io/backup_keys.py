"""The keys of a home into the folder of sealed keys, again whenever they change; only the operator can open them."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from infra.stack.files import PRIVATE, private_folder, write_atomic
from infra.stack.settings import Settings
from pipelines.backup import recovery_key
from pipelines.backup.places import RECOVERY, SEALED, keys_folder
from pipelines.backup.recovery_key import RecoveryKeyError

log = logging.getLogger(__name__)

# Passwords of the databases are made anew; these cannot be.
KEPT = ("master.key", "agents.yaml")
_RETIRED = "retired-{}.sealed"


def recovery_of(settings: Settings) -> dict[str, Any]:
    """The recovery key that was set up. Raises RecoveryKeyError in plain words where none was."""
    path = keys_folder(settings) / RECOVERY
    if not path.exists():
        raise RecoveryKeyError(
            "No recovery key was set up: without it nobody could open this backup. Run kefulake backup init, which "
            f"asks for a passphrase and writes {path}"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def init(settings: Settings, passphrase: str) -> Path:
    """Set up the recovery key, once. Raises RecoveryKeyError where there is one, or the passphrase is weak."""
    path = private_folder(keys_folder(settings)) / RECOVERY
    if path.exists():
        raise RecoveryKeyError(f"{path} is there already: who replaces it cannot open what was sealed to it any more.")
    write_atomic(path, json.dumps(recovery_key.create(passphrase)) + "\n", PRIVATE)
    return path


def ship_keys(settings: Settings) -> bool:
    """Seal the keys where they changed; True when it wrote. Raises RecoveryKeyError."""
    recovery, folder = recovery_of(settings), keys_folder(settings)
    there = {name: settings.keys / name for name in KEPT if (settings.keys / name).exists()}
    content = json.dumps({n: base64.b64encode(p.read_bytes()).decode() for n, p in sorted(there.items())}).encode()
    # The keys are random: their hash says nothing of them.
    digest = hashlib.sha256(content + recovery["public"].encode()).hexdigest()
    stamp = folder / f"{SEALED}.sha256"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest and (folder / SEALED).exists():
        return False
    write_atomic(folder / SEALED, recovery_key.seal(content, recovery).decode(), PRIVATE)
    write_atomic(stamp, digest, PRIVATE)
    return True


def keep_retired(settings: Settings, version: int) -> bool:
    """Seal a version of the master key that is about to go: rounds from before are opened by it.

    False where no recovery key was set up, so that nobody could open a round anyway.
    """
    try:
        recovery = recovery_of(settings)
    except RecoveryKeyError:
        return False
    lines = settings.keys_file.read_text(encoding="utf-8").split()
    (line,) = (line for line in lines if line.startswith(f"{version}:"))
    path = keys_folder(settings) / _RETIRED.format(version)
    write_atomic(path, recovery_key.seal(line.encode(), recovery).decode(), PRIVATE)
    return True


def go_on_with(folder: Path, own: Path) -> None:
    """A restored home's own backup is sealed to the same recovery key, so that the passphrase stays the operator's."""
    if (folder / RECOVERY).exists() and not (own / RECOVERY).exists():
        write_atomic(private_folder(own) / RECOVERY, (folder / RECOVERY).read_text(encoding="utf-8"), PRIVATE)


def bring_back(folder: Path, passphrase: str, target: Path) -> list[str]:
    """Write the sealed keys and retired versions into a home's folder of keys; names. Raises RecoveryKeyError."""
    for name in (RECOVERY, SEALED):
        if not (folder / name).exists():
            raise RecoveryKeyError(f"{folder / name} is missing: without it the backup cannot be opened.")
    recovery = json.loads((folder / RECOVERY).read_text(encoding="utf-8"))
    kept = json.loads(recovery_key.opened((folder / SEALED).read_bytes(), recovery, passphrase))
    private_folder(target)
    for name, encoded in kept.items():
        if name in KEPT:
            write_atomic(target / name, base64.b64decode(encoded).decode(), PRIVATE)
    retired = []
    for path in sorted(folder.glob(_RETIRED.format("*"))):
        try:
            retired.append(recovery_key.opened(path.read_bytes(), recovery, passphrase).decode())
        except RecoveryKeyError as error:  # only rounds from before its retirement need it
            log.warning("%s cannot be opened and is left out: %s", path, error)
    if retired and (ring := target / KEPT[0]).exists():
        lines = sorted({*ring.read_text(encoding="utf-8").split(), *retired}, key=lambda one: int(one.split(":")[0]))
        write_atomic(ring, "\n".join(lines) + "\n", PRIVATE)
    return sorted(kept)
