"""Whose cluster is this? Where several regions are declared, an empty topic named after the region says so.

A cluster has one region: its segments lie on one set of disks. So a process that was pointed at another region's broker
by mistake stops before it reads or writes a record.
"""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from pipelines import contracts
from pipelines.collectors.regions import Regions

CLAIM_TIMEOUT_S, ASK_TIMEOUT_S = 15, 5  # a sender may be waiting for the second


class WrongRegion(RuntimeError):
    """A cluster or a root belongs to another region than the one at work; nothing was read or written."""


def claim(bootstrap: str, region: str, regions: Regions) -> bool:
    """Mark the cluster as this region's; True when it was not marked before.

    A further region takes a cluster only that holds no topic of ours: those would be the home region's, from the time
    before there were several. Raises WrongRegion; ConnectionError when no broker answers.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = _names(admin, bootstrap, CLAIM_TIMEOUT_S)
    if _marks(names, regions):
        _compare(bootstrap, names, region, regions)
        return False
    if region != regions.home and (ours := sorted(names & set(contracts.topics()))):
        raise WrongRegion(
            f"region {region} has to have a Kafka cluster of its own, but the one at {bootstrap} holds {ours[0]} of "
            f"{regions.home}. If it is {region}'s own, remove its topics first."
        )
    for future in admin.create_topics([NewTopic(f"{regions.cluster_mark}{region}", 1, 1)]).values():
        future.result()
    return True


def require(bootstrap: str, region: str, regions: Regions) -> None:
    """Raises WrongRegion unless the cluster is marked as this region's; ConnectionError when no broker answers."""
    names = _names(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}), bootstrap, ASK_TIMEOUT_S)
    _compare(bootstrap, names, region, regions)


def _names(admin: AdminClient, bootstrap: str, timeout_s: float) -> set[str]:
    try:
        return set(admin.list_topics(timeout=timeout_s).topics)
    except KafkaException as error:
        raise ConnectionError(f"no broker answers at {bootstrap}, so it is not known whose region it is") from error


def _compare(bootstrap: str, names: set[str], region: str, regions: Regions) -> None:
    marked = _marks(names, regions)
    if not marked:
        raise WrongRegion(f"the Kafka cluster at {bootstrap} is not marked. Run: kefulake --region {region} up")
    if marked != [region]:
        raise WrongRegion(
            f"the Kafka cluster at {bootstrap} belongs to region {' and '.join(marked)}, not to {region}: nothing was "
            "read from it or written to it. A region has a cluster of its own (docs/regions.md)."
        )


def _marks(names: set[str], regions: Regions) -> list[str]:
    mark = regions.cluster_mark
    return sorted(name.removeprefix(mark) for name in names if name.startswith(mark))
