"""Secrets of the embedded stack: made once, each in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets

from infra.stack.files import PRIVATE, private_folder, write_atomic
from infra.stack.settings import Settings


class KeyLost(RuntimeError):
    """The lake holds data whose master key is gone; a new one would not open it."""


def ensure_master_key(settings: Settings) -> None:
    """Makes the master key for a new lake.

    Raises KeyLost when tables exist but the key does not: with another key nothing matches any more.
    """
    private_folder(settings.keys)
    if os.environ.get("KEFULAKE_MASTER_KEY") or settings.keys_file.exists():
        return
    if any(settings.lake.glob("*/*/_delta_log")):
        raise KeyLost(
            f"{settings.lake} holds tables, but their master key {settings.keys_file} is missing. "
            "Put the key back, or set KEFULAKE_MASTER_KEY; a new key could not open what was written."
        )
    from pipelines.privacy.keys import MasterKey

    MasterKey.create(settings.keys_file)


def ensure_password(settings: Settings, name: str) -> str:
    """The password kept in keys/<name>.password, made when missing (192 random bits, no quotes inside)."""
    path = private_folder(settings.keys) / f"{name}.password"
    if not path.exists():
        write_atomic(path, secrets.token_urlsafe(24) + "\n", PRIVATE)
    return path.read_text(encoding="utf-8").strip()
