"""The one way an HTTP service of ours serves: guarded connections, bounded numbers of them, a clean stop."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import uvicorn
from fastapi import FastAPI

from pipelines.collectors.connections import guarded_protocol

SHUTDOWN_S = 10


def serve(app: FastAPI, *, host: str, port: int, policy: Mapping[str, Any]) -> None:
    """Serves until told to stop (SIGTERM); what was taken in by then is answered, within ``SHUTDOWN_S``.

    ``policy`` has header_timeout_s, max_header_bytes, max_connections and keep_alive_s. Requests are not logged: an
    identifier may stand in a path.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again after a clean stop: that must not kill
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=guarded_protocol(header_timeout_s=policy["header_timeout_s"], max_header_bytes=policy["max_header_bytes"]),
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        limit_concurrency=policy["max_connections"],
        backlog=policy["max_connections"],
        timeout_keep_alive=policy["keep_alive_s"],
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
