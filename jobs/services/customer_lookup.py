"""The look-up of customers for agents: GET /customers/{id} and POST /customers/search, by key, role and audit.

Wiring only; keys, questions, what a role sees and the append before the answer live in `pipelines.lookup`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
from confluent_kafka import KafkaException
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from infra.stack.settings import Settings
from jobs.ops.auditing import audit_log
from jobs.services.http_server import serve
from pipelines import contracts
from pipelines.io.audit_log import AuditLog, sender
from pipelines.io.compacted_tail import TailError
from pipelines.io.customer_reads import CustomerReads, view_columns
from pipelines.io.mariadb import connect
from pipelines.io.publisher import PublishError
from pipelines.lookup import questions
from pipelines.lookup.agent_keys import AgentKeys, AgentKeysError
from pipelines.lookup.answers import Views, may_look_up
from pipelines.lookup.counters import Counters
from pipelines.lookup.desk import Desk
from pipelines.lookup.refusals import NotAnswered
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import PREFIXES, Tokeniser

log = logging.getLogger(__name__)

# A personal value is remembered by nobody here: the tokeniser forgets all but the last few.
REMEMBERED_VALUES = 16


class FrontDesk:
    """Where agents ask: who they are, what they mean, then the desk; every answer is counted."""

    def __init__(self, keys: AgentKeys, desk: Desk, tokeniser: Tokeniser):
        self._keys, self._desk, self._tokeniser = keys, desk, tokeniser
        self._policy, self._roles = contracts.policy("lookup"), contracts.policy("roles")
        self._views = Views(view_columns(), self._roles, contracts.fields())
        self.counters = Counters()

    async def answer(self, request: Request) -> Response:
        """200 with the view, or a refusal in plain words."""
        began_s = time.perf_counter()
        error, headers = "", {"cache-control": "no-store"}
        try:
            status, body = 200, await self._found(request)
        except NotAnswered as refused:
            status, body, error = refused.status, refused.body(), refused.error
            if status == 401:
                headers["www-authenticate"] = "Bearer"
            if status == 503:
                headers["retry-after"] = str(self._policy["retry_after_s"])
        self.counters.answered(status, error, time.perf_counter() - began_s)
        content = orjson.dumps(body, option=orjson.OPT_NAIVE_UTC)
        return Response(content, status, headers, media_type="application/json")

    async def _found(self, request: Request) -> dict:
        try:
            agent = self._keys.agent(request.headers.get("authorization"))
        except AgentKeysError as error:
            log.error("%s", error)
            raise NotAnswered("keys.unusable") from error
        kinds = self._policy["search_by"]
        if request.method == "POST":
            question = questions.of_body(await self._body(request), self._tokeniser, kinds)
        else:
            question = questions.of_path(request.path_params["customer"], self._tokeniser, kinds)
        found = await self._desk.ask(question, agent, allowed=may_look_up(agent.role, self._roles))
        return self._views.answer(question, found, agent.role)

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._policy["body_timeout_s"]):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._policy["max_body_bytes"]:
                        raise NotAnswered("body.too_large")
        except (TimeoutError, ClientDisconnect) as error:
            raise NotAnswered("question.malformed", "the body did not come to its end") from error
        return bytes(body)


def create_app(settings: Settings) -> FastAPI:
    """The application; nothing is opened before it starts.

    Raises:
        AgentKeysError, MasterKeyError, FileNotFoundError: what it needs is not there or cannot be used.
    """
    policy, roles = contracts.policy("lookup"), contracts.policy("roles")
    identity, key = contracts.policy("identity"), MasterKey.load(settings)
    keys = AgentKeys(settings.agent_keys_file, list(roles["roles"]))
    keys.follow()  # a file that cannot be used is said at the start
    tokeniser = Tokeniser(key, placeholders=identity["placeholders"], cache_values=REMEMBERED_VALUES)
    reads = CustomerReads(
        connect(settings.database_lookup_url, unchecked=True, autocommit=True),
        registers=identity["resolution"]["one_record_per_source"],
        heads=[f"{PREFIXES[kind]}{key.token_version}_" for kind in identity["provisional"]],
        clock_us=now_us,
    )
    audit = audit_log(settings, wait_for_witness=False)

    desk = Desk(
        reads.answer,
        audit.append_all,
        clock_us=now_us,
        max_batch=policy["max_batch"],
        answer_within_s=policy["answer_within_s"],
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        at_work = [
            asyncio.create_task(desk.run()),
            asyncio.create_task(_witness_rounds(audit, settings.bootstrap, desk, policy["witness_every_s"])),
        ]
        yield
        for task in at_work:
            task.cancel()
        for task in at_work:
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(_witnessed, audit, settings.bootstrap)

    app = FastAPI(title="Kefulake customers", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_routes(app, FrontDesk(keys, desk, tokeniser), reads)
    return app


def _add_routes(app: FastAPI, front: FrontDesk, reads: CustomerReads) -> None:
    app.add_route("/customers/search", front.answer, methods=["POST"])
    app.add_route("/customers/{customer}", front.answer, methods=["GET"])

    @app.get("/healthz")
    async def healthz() -> Response:
        try:
            await asyncio.to_thread(reads.health)
        except (DBAPIError, OSError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            return Response(orjson.dumps({"database": str(reason)}), 503, media_type="application/json")
        return Response(orjson.dumps({"database": "well"}), media_type="application/json")

    @app.get("/metrics", dependencies=[Depends(_from_here)])
    async def metrics() -> Response:
        return Response(front.counters.prometheus(), media_type="text/plain; version=0.0.4")


def _from_here(request: Request) -> None:
    """Counters are for this machine; whoever comes through a proxy is told by its X-Forwarded-For and sees nothing."""
    if request.client is None or request.client.host not in ("127.0.0.1", "::1"):
        raise HTTPException(404)


async def _witness_rounds(audit: AuditLog, bootstrap: str, desk: Desk, every_s: float) -> None:
    """What was written down goes to its second place about a second later, not in the way of an answer."""
    sent = -1  # at the start also what a process that ended in between left
    while True:
        if (written := desk.written) != sent and await asyncio.to_thread(_witnessed, audit, bootstrap):
            sent = written
        await asyncio.sleep(every_s)


def _witnessed(audit: AuditLog, bootstrap: str) -> bool:
    try:
        audit.send_missing(sender(bootstrap))
    except (KafkaException, PublishError, TailError, DBAPIError, OSError) as error:
        log.warning("audit rows are in MariaDB, and not yet in topic audit.log: %s", error)
        return False
    return True


def now_us() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


def main() -> None:
    """Serve until told to stop (SIGTERM)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings, policy = Settings.load(), contracts.policy("lookup")
    serve(create_app(settings), host="127.0.0.1", port=settings.ports.lookup, policy=policy)


if __name__ == "__main__":
    main()
