"""Where everything of one Kefulake stands: folders, ports, addresses.

One folder ("home") holds all that a running stack writes; two stacks with different homes and port bases
live side by side. Environment variables override, arguments override the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PROJECT_ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PORT_BASE = 19200
DATABASE = "kefulake"
PORT_BASE_FILE, REGION_FILE = "port-base", "region"
READER, WRITER = "kefulake_reader", "kefulake_writer"
LOOKUP = "kefulake_lookup"  # sees what a look-up needs: whose an identifier is, and the served view
# A database of its own: what the writer may do to its tables, it may not do to the audit log.
AUDIT_DATABASE, AUDITOR = "kefulake_audit", "kefulake_auditor"


def _remembered(file: Path) -> str | None:
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


def _region(home: Path) -> str | None:
    """What the home says it is, else KEFULAKE_REGION; None for the home region's, which carries no mark."""
    marked, told = _remembered(home / REGION_FILE), os.environ.get("KEFULAKE_REGION")
    if not told:
        return marked
    from pipelines.collectors import regions

    known = regions.declared()
    used = (home / PORT_BASE_FILE).exists()
    if told != (marked or (known.home if used else told)):
        raise ValueError(
            f"KEFULAKE_REGION is {told}, but {home} is the root of region {marked or known.home}. "
            f"Use kefulake --region {told}, or let KEFULAKE_HOME name the root of {told}."
        )
    return None if told == known.home else told


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one stack, all counted from one base so that two stacks never meet.

    >>> Ports(19200).kafka, Ports(19200).mariadb, Ports(19200).trino
    (19200, 19210, 19212)
    """

    base: int

    @property
    def kafka(self) -> int:
        """Broker listener."""
        return self.base

    @property
    def kafka_controller(self) -> int:
        """KRaft controller listener."""
        return self.base + 1

    @property
    def flink_rest(self) -> int:
        """Flink REST interface and web page."""
        return self.base + 2

    @property
    def flink_rpc(self) -> int:
        """Job manager RPC."""
        return self.base + 3

    @property
    def flink_blob(self) -> int:
        """Job manager blob server."""
        return self.base + 4

    @property
    def flink_taskmanager_rpc(self) -> int:
        """Task manager RPC."""
        return self.base + 5

    @property
    def flink_taskmanager_data(self) -> int:
        """Task manager data exchange."""
        return self.base + 6

    @property
    def flink_metrics_rpc(self) -> str:
        """Range for Flink's inner metric service, one port each for job and task manager."""
        return f"{self.base + 7}-{self.base + 9}"

    @property
    def mariadb(self) -> int:
        """MariaDB."""
        return self.base + 10

    @property
    def gateway(self) -> int:
        """HTTP gateway of the collectors."""
        return self.base + 11

    @property
    def trino(self) -> int:
        """Trino, when asked for."""
        return self.base + 12

    @property
    def metrics(self) -> int:
        """Prometheus text of Kefulake itself: parts, lag, freshness, balance."""
        return self.base + 13

    @property
    def lookup(self) -> int:
        """Customers, for agents."""
        return self.base + 14

    @property
    def airflow(self) -> int:
        """Airflow's web page and REST interface, when asked for."""
        return self.base + 15


@dataclass(frozen=True)
class Settings:
    """One stack. Made by `Settings.load`; never changed afterwards.

    >>> s = Settings(home=Path("/srv/kefulake"), ports=Ports(20000))
    >>> str(s.table_path("silver.interactions")), s.flink_url
    ('/srv/kefulake/lake/silver/interactions', 'http://127.0.0.1:20002')
    """

    home: Path
    ports: Ports
    #: The region this home is the root of (infra/stack/roots.py); None for the home region.
    region: str | None = None

    @classmethod
    def load(cls, home: Path | str | None = None, port_base: int | None = None) -> Settings:
        """Arguments first, then KEFULAKE_HOME and KEFULAKE_PORT_BASE, then ./.kefulake and 19200.

        A home remembers the port base it was last brought up with, so that `status` finds what `up` started, and the
        region whose root it is. Raises ValueError when the port base is no usable number, or KEFULAKE_REGION names
        another region than the home's.
        """
        chosen_home = Path(home or os.environ.get("KEFULAKE_HOME") or ".kefulake").expanduser().resolve()
        given = port_base if port_base is not None else os.environ.get("KEFULAKE_PORT_BASE")
        text = str(given or _remembered(chosen_home / PORT_BASE_FILE) or DEFAULT_PORT_BASE)
        if not text.isdigit() or not 1024 <= int(text) <= 65535 - 20:
            raise ValueError(f"KEFULAKE_PORT_BASE must be a number from 1024 to 65515, not {text!r}")
        return cls(home=chosen_home, ports=Ports(int(text)), region=_region(chosen_home))

    # folders -------------------------------------------------------------------------------------------------------

    @property
    def project_root(self) -> Path:
        """The checkout the code runs from."""
        return PROJECT_ROOT

    @property
    def lake(self) -> Path:
        """Root of the Delta tables."""
        return self.home / "lake"

    def table_path(self, table: str) -> Path:
        """Folder of the Delta table `schema.table`."""
        schema, _, name = table.partition(".")
        return self.lake / schema / name

    @property
    def logs(self) -> Path:
        """Logs of every part, rotated."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Pid files, the supervisor's socket and the rendered configurations; private to the owner."""
        return self.home / "run"

    @property
    def keys(self) -> Path:
        """Secrets: the master key and the database passwords, each file 0600."""
        return self.home / "keys"

    @property
    def keys_file(self) -> Path:
        """The master key, unless KEFULAKE_MASTER_KEY carries it (base64)."""
        return self.keys / "master.key"

    @property
    def checkpoints(self) -> Path:
        """Flink checkpoints: <job id>/chk-<n>."""
        return self.home / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """Flink savepoints."""
        return self.home / "savepoints"

    @property
    def job_records(self) -> Path:
        """One JSON file a deployed Flink job."""
        return self.home / "jobs"

    @property
    def jars(self) -> Path:
        """Jars and unpacked servers, shared by all homes: a sub-folder a part (kafka, flink, spark, mariadb, trino)."""
        return Path(os.environ.get("KEFULAKE_JARS") or PROJECT_ROOT / "build" / "jars")

    # addresses -----------------------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """Kafka bootstrap servers; KEFULAKE_KAFKA names a cluster of your own."""
        return os.environ.get("KEFULAKE_KAFKA") or f"127.0.0.1:{self.ports.kafka}"

    @property
    def own_kafka(self) -> bool:
        """True when the stack runs its own broker."""
        return not os.environ.get("KEFULAKE_KAFKA")

    @property
    def flink_url(self) -> str:
        """Flink REST interface."""
        return f"http://127.0.0.1:{self.ports.flink_rest}"

    @property
    def gateway_url(self) -> str:
        """HTTP gateway."""
        return f"http://127.0.0.1:{self.ports.gateway}"

    @property
    def lookup_url(self) -> str:
        """Customers, for agents."""
        return f"http://127.0.0.1:{self.ports.lookup}"

    @property
    def agent_keys_file(self) -> Path:
        """Who may look customers up: hashes of their keys."""
        return self.keys / "agents.yaml"

    @property
    def own_mariadb(self) -> bool:
        """True when the stack runs its own MariaDB."""
        return not os.environ.get("KEFULAKE_DATABASE_URL")

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the writer; KEFULAKE_DATABASE_URL names a server of your own.

        Raises FileNotFoundError before the bundled server was set up for the first time.
        """
        return os.environ.get("KEFULAKE_DATABASE_URL") or self._database_url(WRITER)

    @property
    def database_reader_url(self) -> str:
        """SQLAlchemy URL of the read-only user; on a server of your own KEFULAKE_DATABASE_READER_URL, else the same."""
        if not self.own_mariadb:
            return os.environ.get("KEFULAKE_DATABASE_READER_URL") or self.database_url
        return self._database_url(READER)

    @property
    def audit_url(self) -> str:
        """SQLAlchemy URL of who may add audit rows and read them, nothing else; KEFULAKE_AUDIT_URL on your own server.

        Without that variable the rows stand with the writer's tables, which it may change; the chain still tells.
        """
        if not self.own_mariadb:
            return os.environ.get("KEFULAKE_AUDIT_URL") or self.database_url
        return self._database_url(AUDITOR, AUDIT_DATABASE)

    @property
    def database_lookup_url(self) -> str:
        """URL of who looks customers up; KEFULAKE_LOOKUP_DATABASE_URL on a server of your own, else the reader's."""
        if not self.own_mariadb:
            return os.environ.get("KEFULAKE_LOOKUP_DATABASE_URL") or self.database_reader_url
        return self._database_url(LOOKUP)

    def _database_url(self, user: str, database: str = DATABASE) -> str:
        password_file = self.keys / f"mariadb_{user}.password"
        if not password_file.exists():
            raise FileNotFoundError(
                f"{password_file} is missing: the bundled MariaDB was never set up in {self.home}. Run: kefulake up"
            )
        password = quote(password_file.read_text(encoding="utf-8").strip(), safe="")
        return f"mysql+pymysql://{user}:{password}@127.0.0.1:{self.ports.mariadb}/{database}?charset=utf8mb4"
