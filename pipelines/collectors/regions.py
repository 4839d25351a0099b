"""Which region a record belongs to: its account says so, as ``schemas/policies/regions.yaml`` declares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines import contracts
from pipelines.contracts import ContractError

DEFAULT_ACCOUNT = "default"
_NAME = re.compile(r"[a-z][a-z0-9]{1,15}")
_FILE = "policies/regions.yaml"


@dataclass(frozen=True)
class Further:
    """A region beside the home region: where its root is and its first port, where the policy says so."""

    name: str
    root: Path | None = None
    port_base: int | None = None


@dataclass(frozen=True)
class Regions:
    """All regions and whose accounts are whose.

    >>> regions = Regions("cn", (Further("sg"),), {("web_chat", "shop_sg"): "sg"})
    >>> regions.of("web_chat", "shop_sg"), regions.of("app", "shop_sg"), regions.of("app", None), regions.names
    ('sg', 'cn', 'cn', ('cn', 'sg'))
    """

    home: str
    further: tuple[Further, ...] = ()
    by_account: Mapping[tuple[str, str], str] = field(default_factory=dict)
    cluster_mark: str = "region."

    @property
    def several(self) -> bool:
        """False where the home region is the only one: then nothing has to be looked up."""
        return bool(self.further)

    @property
    def names(self) -> tuple[str, ...]:
        """The home region, then the others as declared."""
        return (self.home, *(region.name for region in self.further))

    def of(self, channel: str, account: str | None) -> str:
        """The region of an account; the home region's are those that are named nowhere, and None is ``default``."""
        return self.by_account.get((channel, account or DEFAULT_ACCOUNT), self.home)

    def accounts_in(self, region: str) -> dict[str, str]:
        """The account named first of each channel in a further region; empty for the home region, which names none."""
        found: dict[str, str] = {}
        for (channel, account), owner in self.by_account.items():
            if owner == region:
                found.setdefault(channel, account)
        return found

    def declared(self, name: str) -> Further:
        """A further region by its name. Raises ContractError, with what there is, for any other."""
        for region in self.further:
            if region.name == name:
                return region
        raise ContractError(f"there is no region {name!r}; {_FILE} declares {', '.join(self.names)}")


def declared() -> Regions:
    """The regions of the contracts in force. Raises ContractError as `read`."""
    return _read(contracts.schemas_folder())


@lru_cache(maxsize=4)
def _read(folder: Path) -> Regions:
    return read(contracts.policy("regions"))


def read(policy: Mapping[str, Any]) -> Regions:
    """The policy, checked.

    Raises:
        ContractError: an unknown key, a name that cannot be one, a channel that is none, an account with two regions.
    """
    _only("", policy, {"version", "home", "further", "cluster_mark"})
    home, further, by_account = _name(policy["home"]), [], {}
    for name, spec in (policy["further"] or {}).items():
        spec = spec or {}
        _only(f"{name}: ", spec, {"root", "port_base", "accounts"})
        if _name(name) == home:
            raise ContractError(f"{_FILE}: {name} is the home region; its accounts are all that no other region names")
        further.append(_further(name, spec))
        for account in _accounts(name, spec.get("accounts")):
            if account in by_account:
                raise ContractError(
                    f"{_FILE}: account {account[1]!r} of {account[0]} is named twice; it has one region"
                )
            by_account[account] = name
    return Regions(home, tuple(further), by_account, policy["cluster_mark"])


def _only(where: str, spec: Mapping[str, Any], known: set[str]) -> None:
    if not isinstance(spec, Mapping) or not set(spec) <= known:
        raise ContractError(f"{_FILE}: {where}known keys are {', '.join(sorted(known))}")


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(
            f"{_FILE}: a region's name is 2 to 16 small letters and digits in quotes or not, not {name!r} "
            '(YAML reads no: as false; write "no":)'
        )
    return name


def _further(name: str, spec: Mapping[str, Any]) -> Further:
    root = None if spec.get("root") is None else Path(str(spec["root"])).expanduser()
    if root is not None and not root.is_absolute():
        raise ContractError(f"{_FILE}: {name}: root must be an absolute path, not {str(root)!r}")
    port_base = spec.get("port_base")
    if port_base is not None and not (type(port_base) is int and 1024 <= port_base <= 65515):
        raise ContractError(f"{_FILE}: {name}: port_base must be a number from 1024 to 65515, not {port_base!r}")
    return Further(name, root, port_base)


def _accounts(name: str, spec: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    found = []
    for channel, accounts in (spec or {}).items():
        if f"raw.{channel}" not in contracts.topics():
            raise ContractError(f"{_FILE}: {name}: there is no channel {channel!r}")
        if not isinstance(accounts, list):
            raise ContractError(f"{_FILE}: {name}: the accounts of {channel} must be a list")
        found += [(channel, str(account)) for account in accounts]
    return found
