"""Topics as the contracts say: created when missing, settings brought up to date, never deleted or shrunk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from infra.stack.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from pipelines.contracts import Topic

log = logging.getLogger(__name__)
TIMEOUT_S = 30


def topic_settings(topic: Topic) -> dict[str, str]:
    """Broker settings of one topic, from its contract."""
    settings = {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "max.message.bytes": str(topic.max_message_bytes),
        # received_at is set by the gateway (or the replay), not by the broker.
        "message.timestamp.type": "CreateTime",
    }
    if topic.cleanup == "compact":
        # A small compacted topic is read to its end at every start: compact it often.
        settings |= {"segment.bytes": "67108864", "min.cleanable.dirty.ratio": "0.2"}
    return settings


def ensure_topics(settings: Settings) -> list[str]:
    """Brings the broker in line with the contracts; returns what was changed, in plain words.

    Raises confluent_kafka.KafkaException when the broker refuses, WrongRegion when it is another region's.
    """
    from confluent_kafka.admin import AdminClient

    from infra.stack import roots
    from pipelines import contracts

    roots.claim_cluster(settings)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    wanted = contracts.topics()
    there = admin.list_topics(timeout=TIMEOUT_S).topics
    changes = _create(admin, [topic for name, topic in wanted.items() if name not in there])
    old = {name: topic for name, topic in wanted.items() if name in there}
    changes += _grow(
        admin, {name: t.partitions for name, t in old.items() if t.partitions > len(there[name].partitions)}
    )
    changes += _configure(admin, old)
    for change in changes:
        log.info("topics: %s", change)
    return changes


def _create(admin: AdminClient, missing: list[Topic]) -> list[str]:
    from confluent_kafka.admin import NewTopic

    if not missing:
        return []
    new = [NewTopic(t.name, t.partitions, 1, config=topic_settings(t)) for t in missing]
    for future in admin.create_topics(new, operation_timeout=TIMEOUT_S).values():
        future.result()
    return [f"created {topic.name} ({topic.partitions} partitions)" for topic in missing]


def _grow(admin: AdminClient, partitions: dict[str, int]) -> list[str]:
    from confluent_kafka.admin import NewPartitions

    if not partitions:
        return []
    for future in admin.create_partitions([NewPartitions(n, count) for n, count in partitions.items()]).values():
        future.result()
    return [f"{name} now has {count} partitions" for name, count in partitions.items()]


def _configure(admin: AdminClient, topics: dict[str, Topic]) -> list[str]:
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    if not topics:
        return []
    described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in topics])
    alter, changes = [], []
    for resource, future in described.items():
        current = {name: entry.value for name, entry in future.result().items()}
        differing = {k: v for k, v in topic_settings(topics[resource.name]).items() if current.get(k) != v}
        if differing:
            entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in differing.items()]
            alter.append(ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=entries))
            changes.append(f"{resource.name}: " + ", ".join(f"{k}={v}" for k, v in sorted(differing.items())))
    for future in admin.incremental_alter_configs(alter).values() if alter else ():
        future.result()
    return changes
