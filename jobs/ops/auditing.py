"""Writes down who looked at what, before it is shown: what cannot be written down does not happen."""

from __future__ import annotations

import json
import os
import pwd
import time

from infra.stack import roots
from infra.stack.settings import Settings
from pipelines.io.audit_log import AuditLog, ensure_table, sender
from pipelines.io.mariadb import connect
from pipelines.privacy.audit_chain import Act, AuditRow
from pipelines.privacy.keys import MasterKey


def login() -> str:
    """Login of who runs this process, as the system knows it and not as the environment tells it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def audit_log(settings: Settings, *, wait_for_witness: bool = True) -> AuditLog:
    """The stack's audit log. Raises FileNotFoundError before the database was set up, WrongRegion at another's broker.

    So whatever is written down before it happens (erasures, rotations, look-ups) asks whose cluster it would reach.
    Without `wait_for_witness`, for a service that writes all the time, who opened it takes the rows to topic audit.log
    (`AuditLog.send_missing`).
    """
    roots.require_own_cluster(settings)
    engine = connect(settings.audit_url, unchecked=not wait_for_witness)
    if not settings.own_mariadb:
        ensure_table(engine)
    return AuditLog(engine, MasterKey.load(settings), sender(settings.bootstrap) if wait_for_witness else None)


def write_down(
    settings: Settings, act: str, subject: str, *, role: str, reason: str = "", detail: dict | None = None
) -> AuditRow:
    """One row of the audit log. Raises AuditRefused when it cannot be written: then do not go on."""
    text = None if detail is None else json.dumps(detail, ensure_ascii=False, sort_keys=True)
    return audit_log(settings).append(Act(time.time_ns() // 1000, login(), role, act, subject, reason, text))
