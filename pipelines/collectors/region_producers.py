"""One door, a cluster a region: the producer of the region an account belongs to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pipelines.collectors.acknowledged_producer import AcknowledgedProducer
from pipelines.collectors.refusals import Refusal
from pipelines.collectors.regions import Regions
from pipelines.io.cluster_region import WrongRegion

log = logging.getLogger(__name__)


class RegionProducers:
    """Producers by region, each made when its first message comes.

    ``bootstrap_of`` gives a region's servers after it has checked that they are the region's own. Where the home region
    is the only one, its producer is there from the start and nothing is looked up.
    """

    def __init__(
        self,
        regions: Regions,
        here: str,
        bootstrap_of: Callable[[str], str],
        open_producer: Callable[[str], AcknowledgedProducer],
    ) -> None:
        self._regions, self._here, self._bootstrap_of, self._open = regions, here, bootstrap_of, open_producer
        self._lock = asyncio.Lock()
        self._by_region: dict[str, AcknowledgedProducer] = {}
        if not regions.several:
            self._by_region[here] = open_producer(bootstrap_of(here))

    async def of(self, channel: str, account: str) -> AcknowledgedProducer:
        """The producer for messages of this account.

        Raises:
            Refusal: ``kafka.unavailable`` when the region's cluster cannot be reached, or is another region's.
        """
        region = self._regions.of(channel, account) if self._regions.several else self._here
        return self._by_region.get(region) or await self._opened(region)

    async def _opened(self, region: str) -> AcknowledgedProducer:
        async with self._lock:
            if region not in self._by_region:
                try:
                    servers = await asyncio.to_thread(self._bootstrap_of, region)
                except (WrongRegion, OSError, ValueError) as error:
                    log.error("region %s: %s", region, error)
                    raise Refusal("kafka.unavailable", f"region {region}") from error
                self._by_region[region] = self._open(servers)
            return self._by_region[region]

    async def reachable(self) -> bool:
        """True when a broker of this root's own region answers."""
        try:
            producer = self._by_region.get(self._here) or await self._opened(self._here)
        except Refusal:
            return False
        return await asyncio.to_thread(producer.reachable)

    def close(self, timeout_s: float) -> None:
        """Send what is queued, waiting up to ``timeout_s`` a region; blocks."""
        for producer in self._by_region.values():
            producer.close(timeout_s)
