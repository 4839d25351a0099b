"""The accounts that may deliver, each with its secrets, from one file that only its owner can read.

    app:
      default: {secret: 3q2-7w...}                     # hmac: any string, the longer the better
    wechat:
      shop:    {token: QDG6eK, encoding_aes_key: jWmYm7..., receiver_id: wx5823bf96d3bd56c7}   # receiver_id = AppID
    wecom:
      default: {token: ..., encoding_aes_key: ..., receiver_id: ww1436e0e65a779aee}            # receiver_id = CorpID

An account of any channel may name its ``scheme`` (hmac, wechat, wecom), e.g. a mini program that WeChat pushes for.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.collectors import wecom_crypto

SCHEMES = frozenset({"hmac", "wechat", "wecom"})
_KEYS = frozenset({"scheme", "secret", "token", "encoding_aes_key", "receiver_id"})


class AccountsError(ValueError):
    """The file of accounts cannot be used as it is; the message names the account and the cure, never a secret."""


@dataclass(frozen=True, repr=False)
class Account:
    """One account of one channel. It has no repr, so that no log can show its secrets."""

    channel: str
    name: str
    scheme: str
    secret: str = ""
    token: str = ""
    aes_key: bytes | None = None
    receiver_id: str = ""


def load(path: Path, policy: Mapping[str, Any]) -> dict[tuple[str, str], Account]:
    """All accounts by (channel, name).

    Raises:
        AccountsError: the file is missing, readable by others, or an entry lacks what its scheme needs.
    """
    if not path.exists():
        raise AccountsError(f"{path} is missing. Run: kefulake up (it makes one), or copy yours there")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AccountsError(f"{path} holds secrets but others may read it. Run: chmod 600 {path}")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict):
        raise AccountsError(f"{path} must hold a mapping: channel, account, secrets")
    accounts = {}
    for channel, entries in content.items():
        for name, entry in (entries or {}).items():
            accounts[(str(channel), str(name))] = _account(str(channel), str(name), entry, policy)
    return accounts


def _account(channel: str, name: str, entry: Any, policy: Mapping[str, Any]) -> Account:
    where = f"account {name!r} of {channel}"
    if not isinstance(entry, dict) or not set(entry) <= _KEYS:
        raise AccountsError(f"{where}: known keys are {sorted(_KEYS)}")
    scheme = entry.get("scheme") or policy["schemes"].get(channel, policy["default_scheme"])
    if scheme not in SCHEMES:
        raise AccountsError(f"{where}: scheme must be one of {sorted(SCHEMES)}")
    needed = {"hmac": {"secret"}, "wechat": {"token"}, "wecom": {"token", "encoding_aes_key", "receiver_id"}}[scheme]
    if "encoding_aes_key" in entry:
        needed = needed | {"receiver_id"}
    if absent := sorted(key for key in needed if not entry.get(key)):
        raise AccountsError(f"{where}: scheme {scheme} needs {absent}")
    try:
        aes_key = wecom_crypto.aes_key(entry["encoding_aes_key"]) if "encoding_aes_key" in entry else None
    except ValueError as error:
        raise AccountsError(f"{where}: {error}") from error
    texts = {key: str(entry.get(key, "")) for key in ("secret", "token", "receiver_id")}
    return Account(channel, name, scheme, aes_key=aes_key, **texts)


def generate(path: Path, names: Iterable[tuple[str, str]], policy: Mapping[str, Any]) -> bool:
    """Make the file with these accounts (channel, name) and random secrets, unless it is there; True when made.

    For the embedded stack: real platforms get their token and key from their own console.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    entries: dict[str, dict[str, dict[str, str]]] = {}
    for channel, name in sorted(names):
        scheme = policy["schemes"].get(channel, policy["default_scheme"])
        entries.setdefault(channel, {})[name] = _random_hmac() if scheme == "hmac" else _random_platform()
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("# Secrets of the gateway's accounts. Keep it 0600. Format: pipelines/collectors/accounts.py\n")
        yaml.safe_dump(entries, file)
    draft.rename(path)
    return True


def _random_hmac() -> dict[str, str]:
    return {"secret": secrets.token_urlsafe(32)}


def _random_platform() -> dict[str, str]:
    alphabet = string.ascii_letters + string.digits
    key = base64.b64encode(secrets.token_bytes(32)).decode().removesuffix("=")
    token = "".join(secrets.choice(alphabet) for _ in range(32))
    return {"token": token, "encoding_aes_key": key, "receiver_id": "wx" + secrets.token_hex(8)}
