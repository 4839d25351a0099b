"""Trino as a part of the stack: unpacking, configuration, command, health."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

from infra.stack import jars, java
from infra.stack.files import write_if_changed
from infra.stack.settings import Settings

# Who may put tables into the catalogue; everybody else only reads.
CATALOGUE_USER = "kefulake"
# The archive brings 50 plugins and 1.3 GB of jars; the lake needs one. Less to load: 13 s to start instead of 40.
_PLUGINS = frozenset({"delta-lake"})
_UNPACKED = ".unpacked"

_CONFIG = """\
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port={port}
discovery.uri=http://127.0.0.1:{port}
http-server.log.enabled=false
web-ui.enabled=false
query.max-memory=400MB
query.max-memory-per-node=400MB
plugin.dir={server}/plugin
catalog.config-dir={etc}/catalog
access-control.config-files={etc}/access-control.properties
"""

# The metastore is a folder of small files, so no Hive server; local.location makes local:///x the folder <home>/x.
_CATALOGUE = """\
connector.name=delta_lake
hive.metastore=file
hive.metastore.catalog.dir=local:///trino/metastore
fs.native-local.enabled=true
local.location={home}
delta.register-table-procedure.enabled=true
# Statistics of Trino's own would be files beside the data: the tables have one writer, and it is not Trino.
delta.extended-statistics.enabled=false
"""

_RULES = {
    "catalogs": [
        {"user": CATALOGUE_USER, "catalog": "delta", "allow": "all"},
        {"catalog": "delta|system", "allow": "read-only"},
    ],
    "schemas": [{"user": CATALOGUE_USER, "owner": True}, {"owner": False}],
    # Not even the catalogue's owner inserts, deletes or updates: Trino lost rows on tables with deletion vectors.
    "tables": [{"user": CATALOGUE_USER, "privileges": ["SELECT", "OWNERSHIP"]}, {"privileges": ["SELECT"]}],
    "procedures": [
        {
            "user": CATALOGUE_USER,
            "catalog": "delta",
            "schema": "system",
            "procedure": "register_table|unregister_table",
            "privileges": ["EXECUTE"],
        },
    ],
    "system_information": [],
}


def folder(settings: Settings) -> Path:
    """Configuration and metastore of this home's Trino."""
    return settings.home / "trino"


def prepare(settings: Settings) -> None:
    """Fetches (821 MB, once), unpacks and configures; does nothing the second time."""
    fetch(settings)
    etc, names = folder(settings) / "etc", _names(settings)
    (folder(settings) / "metastore").mkdir(parents=True, exist_ok=True)
    (folder(settings) / "data").mkdir(parents=True, exist_ok=True)
    write_if_changed(etc / "config.properties", _CONFIG.format(**names))
    write_if_changed(etc / "catalog" / "delta.properties", _CATALOGUE.format(**names))
    write_if_changed(
        etc / "access-control.properties",
        f"access-control.name=file\nsecurity.config-file={etc}/rules.json\n",
    )
    write_if_changed(etc / "rules.json", json.dumps(_RULES, indent=2) + "\n")
    write_if_changed(etc / "log.properties", "io.trino=WARN\n")


def fetch(settings: Settings) -> None:
    """The server below build/jars/trino: fetched and unpacked once, shared by all homes."""
    jars.fetch(settings, "trino")
    _unpack(jars.folder(settings, "trino"))


def command(settings: Settings) -> list[str]:
    """One JVM: 1 GB of heap answers group-bys over some ten million rows; it idles at about 0.6 GB resident."""
    server, home = server_folder(settings), folder(settings)
    return [
        java.bundled(),
        "-Xmx1g",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-OmitStackTraceInFastThrow",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dfile.encoding=UTF-8",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Dnode.environment=kefulake",
        "-Dnode.id=kefulake-1",
        f"-Dnode.data-dir={home / 'data'}",
        "-Dnode.internal-address=127.0.0.1",
        "-Dnode.bind-ip=127.0.0.1",
        f"-Dconfig={home / 'etc' / 'config.properties'}",
        f"-Dlog.levels-file={home / 'etc' / 'log.properties'}",
        "-cp",
        f"{server}/lib/*",
        "io.trino.server.TrinoServer",
    ]


def health(settings: Settings) -> str | None:
    """None once Trino says it is no longer starting."""
    try:
        url = f"http://127.0.0.1:{settings.ports.trino}/v1/info"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return "is starting" if json.load(answer)["starting"] else None
    except (OSError, ValueError, KeyError) as error:
        return f"does not answer ({getattr(error, 'reason', error)})"


def server_folder(settings: Settings) -> Path:
    """The unpacked server."""
    found = sorted(jars.folder(settings, "trino").glob("trino-server-*/lib"))
    if not found:
        raise jars.JarsMissing("Trino is not unpacked. Run: kefulake up --with trino")
    return found[-1].parent


def _names(settings: Settings) -> dict[str, object]:
    return {
        "port": settings.ports.trino, "home": settings.home, "etc": folder(settings) / "etc",
        "server": server_folder(settings),
    }  # fmt: skip


def _unpack(part: Path) -> None:
    """Into a scratch folder that is renamed when complete; then the archive and the plugins not used go."""
    if (part / _UNPACKED).exists():
        return
    archive = next(iter(sorted(part.glob("trino-server-*.tar.gz"))))
    scratch = part / ".unpacking"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    # Jars that plugins share are hard links to the first one's: unpack all, then remove what is not used. GNU tar
    # refuses a member that points outside the folder; Python's tarfile does from 3.11.4 on only.
    subprocess.run(["tar", "--no-same-owner", "-xzf", archive, "-C", scratch], check=True)
    server = next(scratch.iterdir())
    for plugin in (server / "plugin").iterdir():
        if plugin.name not in _PLUGINS:
            shutil.rmtree(plugin)
    shutil.rmtree(part / server.name, ignore_errors=True)
    server.rename(part / server.name)
    scratch.rmdir()
    (part / _UNPACKED).write_text(archive.name, encoding="utf-8")
    archive.unlink()
