"""Airflow as parts of the stack: configuration, metadata database, commands, health.

Three processes (API server with the web page, scheduler, DAG processor), one SQLite metadata database in the home, one
login. Tasks run under the scheduler, on this machine, with the stack's own settings in their environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import httpx
from cryptography.fernet import Fernet

from infra.stack.files import PRIVATE, private_folder, write_atomic, write_if_changed
from infra.stack.keys import ensure_password
from infra.stack.settings import PROJECT_ROOT, Settings

OPERATOR = "operator"
POOLS = Path(__file__).with_name("pools.json")
_MIGRATED = "migrated"

# MariaDB is no metadata database Airflow supports, and its MySQL driver is GPL: SQLite it is, copied while it runs by
# the backup. Three tasks at once are what the pools let run.
_CONFIG = """\
[core]
dags_folder = {root}/dags
executor = LocalExecutor
parallelism = 3
max_active_runs_per_dag = 1
load_examples = False
fernet_key = {fernet}
simple_auth_manager_users = {operator}:admin
simple_auth_manager_passwords_file = {keys}/airflow_passwords.json
execution_api_server_url = http://127.0.0.1:{port}/execution/

[database]
sql_alchemy_conn = sqlite:///{database}
load_default_connections = False

[logging]
base_log_folder = {logs}

[api]
host = 127.0.0.1
port = {port}
base_url = http://127.0.0.1:{port}
workers = 1
expose_config = False
secret_key = {session}
instance_name = Kefulake

[api_auth]
jwt_secret = {jwt}

[scheduler]
catchup_by_default = False

[dag_processor]
parsing_processes = 1
refresh_interval = 60
min_file_process_interval = 60

[usage_data_collection]
enabled = False
"""


def folder(settings: Settings) -> Path:
    """Configuration and metadata database of this home's Airflow."""
    return settings.home / "airflow"


def database(settings: Settings) -> Path:
    """The metadata database (SQLite, write-ahead log)."""
    return folder(settings) / "airflow.db"


def logs(settings: Settings) -> Path:
    """Logs of tasks: <dag>/<run>/<task>."""
    return settings.logs / "airflow"


def url(settings: Settings) -> str:
    """Web page and REST interface."""
    return f"http://127.0.0.1:{settings.ports.airflow}"


def environment(settings: Settings) -> dict[str, str]:
    """For every Airflow process and what it starts: tasks find `kefulake` and this home."""
    return {
        "AIRFLOW_HOME": str(folder(settings)),
        "KEFULAKE_HOME": str(settings.home),
        "KEFULAKE_PORT_BASE": str(settings.ports.base),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(PROJECT_ROOT),
        "NO_PROXY": "127.0.0.1,localhost",
    }


def prepare(settings: Settings) -> None:
    """Configuration and login, then the metadata database and its pools; the second time only what changed.

    Raises RuntimeError with the end of Airflow's own words when the database cannot be brought up to date.
    """
    private_folder(folder(settings))
    logs(settings).mkdir(parents=True, exist_ok=True)
    passwords = {OPERATOR: ensure_password(settings, f"airflow_{OPERATOR}")}
    write_if_changed(settings.keys / "airflow_passwords.json", json.dumps(passwords), PRIVATE)
    write_if_changed(folder(settings) / "airflow.cfg", _config(settings), PRIVATE)
    wanted = f"{version('apache-airflow-core')}\n{POOLS.read_text(encoding='utf-8')}"
    stamp = folder(settings) / _MIGRATED
    if database(settings).exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    _run(settings, "db", "migrate")
    _run(settings, "pools", "import", str(POOLS))
    database(settings).chmod(PRIVATE)
    write_atomic(stamp, wanted)


def _config(settings: Settings) -> str:
    return _CONFIG.format(
        root=PROJECT_ROOT,
        fernet=_fernet_key(settings),
        operator=OPERATOR,
        keys=settings.keys,
        port=settings.ports.airflow,
        database=quote(str(database(settings)), safe="/"),
        logs=logs(settings),
        session=ensure_password(settings, "airflow_session"),
        jwt=ensure_password(settings, "airflow_jwt"),
    )


def _fernet_key(settings: Settings) -> str:
    path = settings.keys / "airflow_fernet.key"
    if not path.exists():
        write_atomic(path, Fernet.generate_key().decode(), PRIVATE)
    return path.read_text(encoding="utf-8")


def _run(settings: Settings, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=os.environ | environment(settings),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def api_server_command(settings: Settings) -> list[str]:
    """Web page, REST interface and what tasks report to."""
    return [sys.executable, "-m", "airflow", "api-server"]


def scheduler_command(settings: Settings) -> list[str]:
    """Starts what is due. Logs of tasks are read from disk by the API server, so none are served here."""
    return [sys.executable, "-m", "airflow", "scheduler", "--skip-serve-logs"]


def dag_processor_command(settings: Settings) -> list[str]:
    """Reads the DAG files."""
    return [sys.executable, "-m", "airflow", "dag-processor"]


def health(settings: Settings, component: str) -> str | None:
    """None when Airflow's own monitor calls the component healthy: metadatabase, scheduler or dag_processor."""
    try:
        answer = httpx.get(f"{url(settings)}/api/v2/monitor/health", timeout=5, trust_env=False)
        status = answer.raise_for_status().json()[component]["status"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return f"does not answer ({error})"
    return None if status == "healthy" else f"is {status or 'starting'}"
