"""Regions and their roots: a region's root is a home of its own, so whatever a stack writes lies below it.

The region is entered by the environment: after that every command, service and job of the process works in that home,
as it would in any other. Two marks stop what would mix two regions: a file in a further region's root, and an empty
topic on each region's cluster (`pipelines/io/cluster_region.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

from infra.stack.files import write_if_changed
from infra.stack.settings import PORT_BASE_FILE, REGION_FILE, Ports, Settings
from pipelines.collectors import regions
from pipelines.io import cluster_region

# Whose servers, key and backup: in the environment of a region these are its own; those of another stand beside them
# with its name at their end (KEFULAKE_KAFKA_SG).
OWN_VARIABLES = (
    "KEFULAKE_KAFKA",
    "KEFULAKE_DATABASE_URL",
    "KEFULAKE_DATABASE_READER_URL",
    "KEFULAKE_AUDIT_URL",
    "KEFULAKE_LOOKUP_DATABASE_URL",
    "KEFULAKE_MASTER_KEY",
    "KEFULAKE_BACKUP",
    "KEFULAKE_BACKUP_KEYS",
)
PORTS_APART = 20
# Where the home region is, for who has entered another: its first port and its folder.
HOME_REGION = "KEFULAKE_HOME_REGION"


class RootsOverlap(ValueError):
    """The root of one region lies within another's."""


def region_of(settings: Settings) -> str:
    """The region whose root this home is."""
    return settings.region or regions.declared().home


def root_of(here: Settings, name: str) -> Settings:
    """Where another region's stack is, seen from this one's.

    A further region's root is where the policy says, else beside the home region's folder; its ports are those it was
    brought up with, else the policy's, else `PORTS_APART` after those of the region before it.
    Raises ContractError for a region that is not declared, ValueError where the home region cannot be seen from here.
    """
    known = regions.declared()
    if name == region_of(here):
        return here
    base, home = _home_region(here, known)
    if name == known.home:
        return Settings(home, Ports(base))
    further = known.declared(name)
    root = (further.root or home.with_name(f"{home.name}-{name}")).resolve()
    apart = further.port_base or base + PORTS_APART * known.names.index(name)
    return Settings(root, Ports(_remembered_base(root) or apart), name)


def _home_region(here: Settings, known: regions.Regions) -> tuple[int, Path]:
    """First port and folder of the home region: as it was when we left it, else what this root lies beside."""
    if here.region is None:
        return here.ports.base, here.home
    if told := os.environ.get(HOME_REGION):
        base, _, home = told.partition(":")
        return int(base), Path(home)
    if not here.home.name.endswith(f"-{here.region}"):
        raise ValueError(
            f"where the home region {known.home} is cannot be seen from {here.home}. "
            f"Set {HOME_REGION} to its first port and its folder, as 19200:/srv/kefulake"
        )
    home = here.home.with_name(here.home.name.removesuffix(f"-{here.region}"))
    apart = PORTS_APART * known.names.index(known.declared(here.region).name)
    return _remembered_base(home) or here.ports.base - apart, home


def _remembered_base(home: Path) -> int | None:
    file = home / PORT_BASE_FILE
    return int(file.read_text(encoding="utf-8")) if file.exists() else None


def enter(name: str) -> Settings:
    """From now on this process, and what it starts, works in the root of this region.

    KEFULAKE_HOME names the home region's folder, or the root of any region. Raises ContractError for a region that is
    not declared.
    """
    if HOME_REGION not in os.environ:  # not entered before: the variable says where to go, not where we are
        os.environ.pop("KEFULAKE_REGION", None)
    before = Settings.load()
    there = root_of(before, name)
    if before.region is None:
        os.environ[HOME_REGION] = f"{before.ports.base}:{before.home}"
    if there is not before:
        for variable in OWN_VARIABLES:
            if (left := os.environ.pop(variable, None)) is not None:
                os.environ[_elsewhere(variable, region_of(before))] = left
            if (own := os.environ.get(_elsewhere(variable, name))) is not None:
                os.environ[variable] = own
    os.environ |= {"KEFULAKE_HOME": str(there.home), "KEFULAKE_PORT_BASE": str(there.ports.base)}
    os.environ["KEFULAKE_REGION"] = name
    return there


def _elsewhere(variable: str, name: str) -> str:
    return f"{variable}_{name.upper()}"


def bootstrap_of(here: Settings, name: str) -> str:
    """Kafka of a region, seen from this one; checked to be its own where there are several.

    Raises WrongRegion when it is not, ConnectionError when no broker answers, ContractError for a region that is not
    declared.
    """
    known = regions.declared()
    if name == region_of(here):
        servers = here.bootstrap
    else:
        told = os.environ.get(_elsewhere("KEFULAKE_KAFKA", name))
        servers = told or f"127.0.0.1:{root_of(here, name).ports.kafka}"
    if known.several:
        cluster_region.require(servers, name, known)
    return servers


def own_bootstrap(settings: Settings) -> str:
    """Kafka of the region at work, for who sends to it; raises as `bootstrap_of`."""
    return bootstrap_of(settings, region_of(settings))


def mark(settings: Settings) -> None:
    """Write into a further region's root whose it is.

    Raises ContractError when the region is not declared, RootsOverlap when its root and another's are not apart.
    """
    known = regions.declared()
    if settings.region is None and not known.several:
        return
    roots = {name: root_of(settings, name).home for name in known.names}
    for name, root in roots.items():
        for other, theirs in roots.items():
            if name != other and theirs.is_relative_to(root):
                raise RootsOverlap(f"the root of {other} ({theirs}) lies within that of {name} ({root}); move one away")
    if settings.region is not None:
        known.declared(settings.region)
        write_if_changed(settings.home / REGION_FILE, settings.region)


def claim_cluster(settings: Settings) -> None:
    """Mark the cluster as this region's, where there are several. Raises WrongRegion when it is another's."""
    known = regions.declared()
    if known.several:
        cluster_region.claim(settings.bootstrap, region_of(settings), known)


def require_own_cluster(settings: Settings) -> None:
    """Nothing where the cluster is this region's and so is the home; asked before anything is read or written.

    Costs nothing where the home region is the only one. Raises WrongRegion.
    """
    known = regions.declared()
    if not known.several and settings.region is None:
        return
    told = region_of(settings)
    if (found := Settings.load(settings.home).region) != settings.region:
        raise cluster_region.WrongRegion(
            f"{settings.home} is the root of region {found or known.home}: nothing of {told} may be written there"
        )
    cluster_region.require(settings.bootstrap, told, known)
