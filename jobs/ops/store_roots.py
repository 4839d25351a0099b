"""Where the files of a store belong: the root of its account's region, with that region's archive, key and broker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from infra.stack import roots
from infra.stack.settings import Settings
from pipelines.collectors import regions
from pipelines.io.paced_producer import NoBroker, Record, send
from pipelines.io.store_archive import StoreArchive, alone
from pipelines.privacy.keys import MasterKey


@dataclass(frozen=True)
class Root:
    """One region's root, as the import uses it."""

    settings: Settings
    archive: StoreArchive
    bootstrap: str

    def send(self, records: Iterable[Record]) -> int:
        """Send and wait for every acknowledgement; how many. Raises NoBroker where some are missing."""
        result = send(self.bootstrap, records)
        if not result.complete:
            causes = ", ".join(f"{count:,} {why}" for why, count in result.failures.most_common())
            raise NoBroker(f"{self.bootstrap} acknowledged {result.acknowledged:,} of {result.sent:,}: {causes}")
        return result.sent


class Roots:
    """The roots of all regions whose stores deliver here, each opened when its first file comes.

    A context: while it lasts no other import works in this home or in a root it opened. Raises ImportBusy.
    """

    def __init__(self, here: Settings) -> None:
        self._here, self._known = here, regions.declared()
        self._opened: dict[str, Root] = {}
        self._locks = ExitStack()

    def __enter__(self) -> Roots:
        self._open(roots.region_of(self._here))
        return self

    def __exit__(self, *raised: object) -> None:
        self._locks.close()

    def of(self, account: str) -> Root:
        """The root of an account of raw.store. Raises WrongRegion, MasterKeyError, ConnectionError."""
        return self._open(self._known.of("store", account))

    @property
    def own(self) -> Root:
        """This home's own, for files that cannot be told whose they are."""
        return self._open(roots.region_of(self._here))

    @property
    def opened(self) -> list[Root]:
        """Those that were asked for so far."""
        return list(self._opened.values())

    def _open(self, region: str) -> Root:
        if region not in self._opened:
            bootstrap = roots.bootstrap_of(self._here, region)
            with _entered(self._here, region) as there:
                key = MasterKey.load(there)
            self._locks.enter_context(alone(there.home))
            self._opened[region] = Root(there, StoreArchive(there.home, key), bootstrap)
        return self._opened[region]


@contextmanager
def _entered(here: Settings, region: str) -> Iterator[Settings]:
    """The region's settings, and its variables in the environment, while it lasts."""
    if region == roots.region_of(here):
        yield here
        return
    before = dict(os.environ)
    try:
        yield roots.enter(region)
    finally:
        os.environ.clear()
        os.environ |= before
