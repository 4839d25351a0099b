"""Addresses and secrets of the sources, from a file that only its owner can read, or from the environment.

    crm:    {base_url: https://crm.example.com/api, client_id: kefulake, client_secret: 8f2-...}   # client_credentials
    orders: {base_url: https://oms.example.com, key: 3q2-...}                                      # api_key
    app:    {base_url: https://app.example.com, user: kefulake, password: ...}                     # basic
    ticket_system: {base_url: https://desk.example.com, token: ...}                                # bearer

``KEFULAKE_CONNECTOR_CRM_CLIENT_SECRET`` in the environment stands before the file's ``crm: client_secret``.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import httpx
import yaml

from pipelines.connectors.resources import ApiKey, Auth, Basic, Bearer

_NEEDED = {Bearer: ("token",), ApiKey: ("key",), Basic: ("user", "password")}
_CLIENT_CREDENTIALS = ("client_id", "client_secret")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class AccessError(ValueError):
    """A source has no address or no secret as it must be; the message names source and cure, never a value."""


class Access:
    """Where a source is and how it knows us. It has no repr, so that no log can show a secret."""

    __slots__ = ("base_url", "secrets")

    def __init__(self, base_url: str, secrets: Mapping[str, str]) -> None:
        self.base_url, self.secrets = base_url.rstrip("/"), dict(secrets)

    def __repr__(self) -> str:
        return "Access(...)"


def needed(auth: Auth) -> tuple[str, ...]:
    """The secrets a form of authentication asks for.

    >>> needed(Basic())
    ('user', 'password')
    """
    return _NEEDED.get(type(auth), _CLIENT_CREDENTIALS)


def load(path: Path, source: str, auth: Auth, environ: Mapping[str, str]) -> Access:
    """Address and secrets of one source.

    Raises:
        AccessError: the file is readable by others or no mapping, something is missing or unknown, the address is not
            https (http is for this machine only).
    """
    known = ("base_url", *needed(auth))
    entry = _entry(path, source)
    if unknown := sorted(set(entry) - set(known)):
        raise AccessError(f"{path}: {source}: unknown key(s) {', '.join(unknown)}; known are {', '.join(known)}")
    told = {name: environ.get(_variable(source, name)) or entry.get(name) for name in known}
    if absent := [name for name in known if not told[name]]:
        raise AccessError(
            f"source {source} has no {', '.join(absent)}: write it into {path} (mode 600), "
            f"or set {', '.join(_variable(source, name) for name in absent)}"
        )
    base_url = str(told.pop("base_url"))
    address = httpx.URL(base_url)
    if address.scheme != "https" and not (address.scheme == "http" and address.host in _LOOPBACK):
        raise AccessError(f"source {source}: base_url must begin with https:// (http:// is for this machine only)")
    if address.userinfo:
        raise AccessError(f"source {source}: base_url must hold no name or password")
    secrets = {name: str(value).strip() for name, value in told.items()}  # a mounted file ends with a line end
    if odd := [name for name, value in secrets.items() if not (value.isascii() and value.isprintable())]:
        raise AccessError(f"source {source}: {', '.join(odd)} holds characters that no header can carry")
    return Access(base_url, secrets)


def configured(path: Path, source: str, environ: Mapping[str, str]) -> bool:
    """True when the file or the environment speaks of the source at all. Raises AccessError as `load`."""
    return bool(_entry(path, source)) or any(name.startswith(_variable(source, "")) for name in environ)


def _entry(path: Path, source: str) -> dict[str, str]:
    if not path.exists():
        return {}
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AccessError(f"{path} holds secrets but others may read it. Run: chmod 600 {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError:  # its message would show the line
        raise AccessError(f"{path} is no YAML") from None
    entry = content.get(source) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(entry, dict | None):
        raise AccessError(f"{path} must hold a mapping: source, then base_url and secrets")
    return entry or {}


def _variable(source: str, name: str) -> str:
    return f"KEFULAKE_CONNECTOR_{source.upper()}_{name.upper()}"
