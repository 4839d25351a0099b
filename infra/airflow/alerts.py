"""A failed task is told to people: a line in a file always, a message to a web hook where one is set.

The message has the shape the robots of WeCom and DingTalk take (msgtype, text.content). It names DAG, task, day, try
and where the log is; never what a command printed, which may hold what only some may see.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from infra.stack.settings import Settings

WEBHOOK = "KEFULAKE_ALERT_WEBHOOK"
TIMEOUT_S = 10
log = logging.getLogger(__name__)


def alerts_file(settings: Settings) -> Path:
    """One JSON object a line, oldest first."""
    return settings.logs / "alerts.ndjson"


def failure(context: dict[str, Any], at: datetime) -> dict[str, Any]:
    """What is told of a failed task.

    >>> from types import SimpleNamespace as Of
    >>> task = Of(dag_id="store_import", task_id="import", run_id="r1", try_number=3)
    >>> told = failure({"ti": task, "dag_run": Of(partition_key="2026-11-28")}, datetime(2026, 11, 29, tzinfo=UTC))
    >>> told["text"]
    'store_import.import failed at try 3 (day 2026-11-28, run r1). Its log: airflow/store_import/r1/import'
    """
    task, run = context["ti"], context.get("dag_run")
    day = getattr(run, "partition_key", None) or "of the run"
    where = f"airflow/{task.dag_id}/{task.run_id}/{task.task_id}"
    return {
        "at": at.isoformat(),
        "dag_id": task.dag_id,
        "task_id": task.task_id,
        "run_id": task.run_id,
        "text": f"{task.dag_id}.{task.task_id} failed at try {task.try_number} "
        f"(day {day}, run {task.run_id}). Its log: {where}",
    }


def tell_failure(context: dict[str, Any]) -> None:
    """Airflow's callback. A hook that does not answer is logged; the line in the file stands by then."""
    told = failure(context, datetime.now(UTC))
    file = alerts_file(Settings.load())
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(told, ensure_ascii=False) + "\n")
    hook = os.environ.get(WEBHOOK)
    if not hook:
        return
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log the address of each request
    try:
        message = {"msgtype": "text", "text": {"content": f"Kefulake: {told['text']}"}}
        httpx.post(hook, json=message, timeout=TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:
        log.error("the alert was not taken by %s: %s", WEBHOOK, type(error).__name__)  # a hook's address is a secret
