"""The broker: Kafka in KRaft mode, broker and controller in one process, loopback only."""

from __future__ import annotations

import subprocess
from pathlib import Path

from infra.stack import jars, java
from infra.stack.files import write_if_changed
from infra.stack.settings import Settings

# 512 MB carries 10,000 records a second of 1 KB with room to spare; page cache does the rest.
HEAP = ("-Xms192m", "-Xmx512m")
# The largest raw message (6 MiB with its headers) as an encrypted base64 copy in quarantine, 4/3 of it, and its fields.
MAX_MESSAGE_BYTES = 9 * 1024 * 1024
# A transaction whose checkpoint completed must outlive the time the machine is off (a week-end, a holiday):
# the broker would abort it at its next start, before the job can commit it, and its rows would be lost.
TRANSACTION_MAX_TIMEOUT_MS = 7 * 24 * 3600 * 1000

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}

# Topics come from schemas/topics only; a misspelt name is an error, not a new topic.
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# 50 each by default: on one broker only more files to open after a kill.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
transaction.max.timeout.ms={transaction_max_timeout_ms}
# The exactly-once sink may use a new transactional id every checkpoint; a day of them is enough to remember.
transactional.id.expiration.ms=86400000
group.initial.rebalance.delay.ms=0
# After a kill the controller refuses the broker's return until its old session has ended (9 s by default).
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
# Offsets of a consumer that was off for a long time must not vanish.
offsets.retention.minutes=43200

message.max.bytes={max_message}
replica.fetch.max.bytes={max_message}
socket.request.max.bytes=33554432
log.segment.bytes=268435456
log.retention.hours=168
log.cleaner.dedupe.buffer.size=16777216
# An erasure waits for both: by default the log is looked through every 5 minutes, and compacted every 15 s.
log.retention.check.interval.ms=5000
log.cleaner.backoff.ms=2000
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
"""

_LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {logs}/kafka.log
appender.file.filePattern = {logs}/kafka.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %-5p %c{{1}} - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


def data_folder(settings: Settings) -> Path:
    """Where the broker keeps its log segments."""
    return settings.home / "kafka"


def _properties_file(settings: Settings) -> Path:
    return settings.run / "kafka.properties"


def _java_command(settings: Settings, main_class: str, *arguments: str) -> list[str]:
    return [
        java.find(),
        *HEAP,
        # Compile what is four times as hot as usual: half a minute into a run the compilers took 55 % of its time.
        "-XX:CompileThresholdScaling=4",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={settings.run / 'kafka-log4j2.properties'}",
        "-cp",
        jars.class_path(settings, "kafka"),
        main_class,
        *arguments,
    ]


def prepare(settings: Settings) -> None:
    """Writes the configuration and formats the storage once. Raises RuntimeError when formatting fails."""
    write_if_changed(
        _properties_file(settings),
        _PROPERTIES.format(
            broker=settings.ports.kafka,
            controller=settings.ports.kafka_controller,
            data=data_folder(settings),
            max_message=MAX_MESSAGE_BYTES,
            transaction_max_timeout_ms=TRANSACTION_MAX_TIMEOUT_MS,
        ),
    )
    write_if_changed(settings.run / "kafka-log4j2.properties", _LOG4J.format(logs=settings.logs))
    if (data_folder(settings) / "meta.properties").exists():
        return
    cluster_id = _storage_tool(settings, "random-uuid").strip().splitlines()[-1]
    _storage_tool(settings, "format", "-t", cluster_id, "-c", str(_properties_file(settings)))


def _storage_tool(settings: Settings, *arguments: str) -> str:
    done = subprocess.run(
        _java_command(settings, "kafka.tools.StorageTool", *arguments), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"Kafka's storage tool failed ({arguments[0]}): {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


def command(settings: Settings) -> list[str]:
    """The broker in the foreground."""
    return _java_command(settings, "kafka.Kafka", str(_properties_file(settings)))


def health(settings: Settings) -> str | None:
    """None when our own broker answers a metadata request, else why not."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0, "socket.timeout.ms": 3000})
    try:
        metadata = admin.list_topics(timeout=2)
    except KafkaException as error:
        return f"does not answer at {settings.bootstrap} ({error.args[0].name()})"
    if metadata.cluster_id != (ours := _cluster_id(settings)):
        # Two stacks that took one port at the same moment: without this the loser would work on the other's topics.
        return f"another broker answers at {settings.bootstrap}: cluster {metadata.cluster_id}, not {ours}"
    return None if metadata.brokers else "no broker in the metadata"


def _cluster_id(settings: Settings) -> str | None:
    """What the storage was formatted with; None before that."""
    file = data_folder(settings) / "meta.properties"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id=")), None)
