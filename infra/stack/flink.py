"""The Flink session cluster out of the pip package: one job manager, one task manager, loopback only.

The JVMs are started directly rather than through the package's shell scripts: those start two helper JVMs first
to work out memory (about 4 s of every recovery), which is fixed here. Nothing is written into site-packages;
the class path is the package's lib/, its opt/flink-python jar (Python jobs fail without it) and build/jars/flink.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from infra.stack import jars, java
from infra.stack.files import write_if_changed
from infra.stack.processes import pid_file
from infra.stack.settings import Settings

SLOTS = 4
# All in MB. Together 3.5 GB at most: RocksDB and the Python workers share `managed`, a quarter of it a slot. The task
# heap holds several times over what 5 MB bodies become in one Python batch: with 768 it ran out, four times in 220 MB.
JOBMANAGER_HEAP, JOBMANAGER_OFF_HEAP = 448, 64
FRAMEWORK_HEAP, TASK_HEAP, FRAMEWORK_OFF_HEAP, TASK_OFF_HEAP = 128, 1792, 128, 128
# A submission lasts seconds and the job manager does little: the full compiler would only take the cores from others.
SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
NETWORK, MANAGED, METASPACE = 128, 768, 256

_LOG4J = """\
monitorInterval = 30
rootLogger.level = INFO
rootLogger.appenderRef.rolling.ref = rolling
appender.rolling.name = rolling
appender.rolling.type = RollingFile
appender.rolling.append = true
appender.rolling.fileName = ${{sys:log.file}}
appender.rolling.filePattern = ${{sys:log.file}}.%i
appender.rolling.layout.type = PatternLayout
appender.rolling.layout.pattern = %d{{yyyy-MM-dd HH:mm:ss,SSS}} %-5p %-50c{{1.}} - %m%n
appender.rolling.policies.type = Policies
appender.rolling.policies.size.type = SizeBasedTriggeringPolicy
appender.rolling.policies.size.size = 20MB
appender.rolling.strategy.type = DefaultRolloverStrategy
appender.rolling.strategy.max = 3
logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
"""


@functools.cache
def package() -> Path:
    """The pip package's folder, found without importing it (that alone takes a second)."""
    found = importlib.util.find_spec("pyflink")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("The Python package apache-flink is not installed. Run: make setup")
    return Path(found.submodule_search_locations[0])


def conf_folder(settings: Settings) -> Path:
    """FLINK_CONF_DIR of this stack."""
    return settings.run / "flink-conf"


def scratch_folder(settings: Settings, process: str) -> Path:
    """Temporary files of one process (state in RocksDB too: checkpoints are what lasts); emptied at its start."""
    return settings.home / "flink" / process


def class_path(settings: Settings) -> str:
    """Class path of job manager, task manager and client."""
    own = sorted((package() / "lib").glob("*.jar")) + sorted((package() / "opt").glob("flink-python-*.jar"))
    return os.pathsep.join([*map(str, own), jars.class_path(settings, "flink")])


def configuration(settings: Settings) -> dict[str, Any]:
    """Flink's settings, flat. Durations and sizes as Flink spells them."""
    ports = settings.ports
    return {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": ports.flink_rpc,
        "jobmanager.bind-host": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.rpc.port": ports.flink_taskmanager_rpc,
        "taskmanager.data.port": ports.flink_taskmanager_data,
        "blob.server.port": ports.flink_blob,
        "metrics.internal.query-service.port": ports.flink_metrics_rpc,
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": ports.flink_rest,
        "rest.bind-port": ports.flink_rest,
        # How old a metric may be when somebody asks for it (default 10 s): `kefulake flush` waits for them.
        "metrics.fetcher.update-interval": "200 ms",
        # Anybody who may upload a jar may run code; jobs come from `kefulake deploy` only.
        "web.submit.enable": False,
        "io.tmp.dirs": str(scratch_folder(settings, "client")),
        "env.pid.dir": str(settings.run),
        "env.log.dir": str(settings.logs),
        "parallelism.default": 2,
        # What does not fill a network buffer waits so long (default 100 ms): the last rows of each Python batch do.
        "execution.buffer-timeout.interval": "10 ms",
        **_memory(),
        # A dead task manager is noticed by its broken connection at once, a hung one after 10 s (default 50).
        "heartbeat.interval": "2 s",
        "heartbeat.timeout": "10 s",
        "heartbeat.rpc-failure-threshold": 2,
        # Components that start on a machine with more to do than cores need longer than 10 s to answer each other.
        "pekko.ask.timeout": "60 s",
        "pekko.startup-timeout": "120 s",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "15 s",
        "restart-strategy.exponential-delay.backoff-multiplier": 1.5,
        "restart-strategy.exponential-delay.reset-backoff-threshold": "2 min",
        "state.backend.type": "rocksdb",
        # Most look-ups are for an event never seen before: a filter of 10 bits a key saves reading the files for them.
        "state.backend.rocksdb.use-bloom-filter": True,
        # Nearly every event is a new key. Levels rewrote all of them every fourth checkpoint and held the cores for 4 s
        # of every 20 (12.5 core-s per million events; universal 6.7).
        "state.backend.rocksdb.compaction.style": "UNIVERSAL",
        # A checkpoint writes what is still in memory while the task waits, up to 0.4 s: small buffers leave less to it.
        # The changelog backend would not wait, but a job it runs cannot be resumed after a deployment (DECISIONS 23).
        "state.backend.rocksdb.writebuffer.size": "2mb",
        # Only the oldest files, most of the state, are compressed: the young are soon written again (5.8 -> 3.3).
        "state.backend.rocksdb.compression.per.level": ";".join(["NO_COMPRESSION"] * 6 + ["SNAPPY_COMPRESSION"]),
        "execution.checkpointing.incremental": True,
        "execution.checkpointing.dir": settings.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": settings.savepoints.as_uri(),
        "execution.checkpointing.interval": "10 s",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.timeout": "2 min",
        # A checkpoint that fails while the broker restarts must not restart the job on top of it.
        "execution.checkpointing.tolerable-failed-checkpoints": 10,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": 3,
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        # Tried: execution mode "thread" hangs (stack notes); process mode is what works.
        "python.execution-mode": "process",
    }


def _memory() -> dict[str, Any]:
    """Every component given, because no script derives the rest."""
    return {
        "jobmanager.memory.heap.size": f"{JOBMANAGER_HEAP}m",
        "jobmanager.memory.off-heap.size": f"{JOBMANAGER_OFF_HEAP}m",
        "taskmanager.numberOfTaskSlots": SLOTS,
        "taskmanager.cpu.cores": float(SLOTS),
        "taskmanager.memory.framework.heap.size": f"{FRAMEWORK_HEAP}m",
        "taskmanager.memory.task.heap.size": f"{TASK_HEAP}m",
        "taskmanager.memory.framework.off-heap.size": f"{FRAMEWORK_OFF_HEAP}m",
        "taskmanager.memory.task.off-heap.size": f"{TASK_OFF_HEAP}m",
        "taskmanager.memory.network.min": f"{NETWORK}m",
        "taskmanager.memory.network.max": f"{NETWORK}m",
        "taskmanager.memory.managed.size": f"{MANAGED}m",
        "taskmanager.memory.jvm-metaspace.size": f"{METASPACE}m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
    }


def prepare(settings: Settings) -> None:
    """Writes configuration and logging. Raises jars.JarsMissing without the connector."""
    jars.folder(settings, "flink")
    for process in ("jobmanager", "taskmanager", "client"):
        scratch_folder(settings, process).mkdir(parents=True, exist_ok=True)
    shipped = yaml.safe_load((package() / "conf" / "config.yaml").read_text(encoding="utf-8"))
    merged = configuration(settings) | {"env.java.opts.all": shipped["env"]["java"]["opts"]["all"]}
    write_if_changed(conf_folder(settings) / "config.yaml", yaml.safe_dump(merged, sort_keys=False, width=10_000))
    for name in ("log4j.properties", "log4j-cli.properties", "log4j-console.properties"):
        write_if_changed(conf_folder(settings) / name, _LOG4J.format())


def environment(settings: Settings) -> dict[str, str]:
    """What Flink's processes and the Python workers they start want to know."""
    return {
        "FLINK_HOME": str(package()),
        "FLINK_CONF_DIR": str(conf_folder(settings)),
        "FLINK_LOG_DIR": str(settings.logs),
        "FLINK_PID_DIR": str(settings.run),
        "FLINK_OPT_DIR": str(package() / "opt"),
        "FLINK_LIB_DIR": str(package() / "lib"),
        "FLINK_PLUGINS_DIR": str(package() / "plugins"),
        # The second JVM a submission starts (Python's gateway) builds its own class path from this.
        "HADOOP_CLASSPATH": jars.class_path(settings, "flink"),
    }


def java_command(settings: Settings, name: str, options: list[str], main_class: str, *arguments: str) -> list[str]:
    """A Flink JVM with the package's own Java options (module opens)."""
    conf = yaml.safe_load((conf_folder(settings) / "config.yaml").read_text(encoding="utf-8"))
    logging = [
        f"-Dlog.file={settings.logs / name}.log",
        f"-Dlog4j.configurationFile=file:{conf_folder(settings) / 'log4j-console.properties'}",
    ]
    opens = ["-XX:+IgnoreUnrecognizedVMOptions", *conf["env.java.opts.all"].split()]
    return [java.find(), *options, *opens, *logging, "-cp", class_path(settings), main_class, *arguments]


def jobmanager_command(settings: Settings) -> list[str]:
    """The job manager in the foreground."""
    return java_command(
        settings,
        "flink-jobmanager",
        [
            *SHORT_LIVED,
            "-Xms128m",
            f"-Xmx{JOBMANAGER_HEAP}m",
            f"-XX:MaxMetaspaceSize={METASPACE}m",
            "-XX:+ExitOnOutOfMemoryError",
        ],
        "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
        "--configDir",
        str(conf_folder(settings)),
        f"-Dio.tmp.dirs={scratch_folder(settings, 'jobmanager')}",
    )


def taskmanager_command(settings: Settings) -> list[str]:
    """The task manager in the foreground."""
    heap, direct = FRAMEWORK_HEAP + TASK_HEAP, FRAMEWORK_OFF_HEAP + TASK_OFF_HEAP + NETWORK
    memory = [
        "-Xms192m",
        f"-Xmx{heap}m",
        f"-XX:MaxDirectMemorySize={direct}m",
        f"-XX:MaxMetaspaceSize={METASPACE}m",
        # Compile what is four times as hot as usual: the compilers took a third of this JVM's first minute.
        "-XX:CompileThresholdScaling=4",
        # Statements become methods of over 8,000 bytes of bytecode, which Java leaves to its interpreter unless told
        # otherwise: a seventh of the time of the threads that keep the state.
        "-XX:-DontCompileHugeMethods",
        "-XX:+UseParallelGC",
        "-XX:+ExitOnOutOfMemoryError",
    ]
    return java_command(
        settings,
        "flink-taskmanager",
        memory,
        "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
        "--configDir",
        str(conf_folder(settings)),
        "-Dtaskmanager.resource-id=taskmanager-@PID@",
        f"-Dio.tmp.dirs={scratch_folder(settings, 'taskmanager')}",
    )


def client_command(settings: Settings, *arguments: str) -> list[str]:
    """The `flink` command line, e.g. client_command(s, "run", "-d", "-py", "job.py")."""
    return java_command(
        settings, "flink-client", [*SHORT_LIVED, "-Xmx384m"], "org.apache.flink.client.cli.CliFrontend", *arguments
    )


def rest(settings: Settings, path: str, *, method: str = "GET", body: Any = None, timeout_s: float = 5) -> Any:
    """One call of Flink's REST interface; the decoded answer.

    Raises urllib.error.URLError when the job manager is not there, HTTPError (with Flink's words) when it refuses.
    """
    request = urllib.request.Request(  # noqa: S310 - always our own loopback address
        settings.flink_url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


def jobmanager_health(settings: Settings) -> str | None:
    """None when REST answers."""
    try:
        rest(settings, "/overview", timeout_s=2)
    except (OSError, ValueError) as error:
        return f"REST does not answer ({getattr(error, 'reason', error)})"
    return None


def taskmanager_health(settings: Settings) -> str | None:
    """None when the task manager that runs now is registered; a dead one stays listed for some seconds."""
    try:
        registered = {manager["id"] for manager in rest(settings, "/taskmanagers", timeout_s=2)["taskmanagers"]}
        pid = pid_file(settings.home, "flink-taskmanager").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        return f"the job manager does not answer ({getattr(error, 'reason', error)})"
    return None if f"taskmanager-{pid}" in registered else "not registered with the job manager yet"
