"""The gateway: POST /collect/{channel} takes messages in and answers 2xx once Kafka has them.

Wiring only; signatures, nonces, batches and the producer live in `pipelines.collectors`. Routes read the request
themselves (no model of the body): what a sender wrote is passed on byte for byte, or refused with a reason.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from fastapi import Depends, FastAPI, HTTPException
from starlette.requests import Request
from starlette.responses import Response

from infra.stack import roots
from infra.stack.settings import Settings
from jobs.services.http_server import serve
from pipelines import contracts
from pipelines.collectors import accounts, regions
from pipelines.collectors.acknowledged_producer import AcknowledgedProducer
from pipelines.collectors.counters import Counters
from pipelines.collectors.door import Door, json_response
from pipelines.collectors.nonces import Nonces
from pipelines.collectors.region_producers import RegionProducers

log = logging.getLogger(__name__)

LOG_REFUSALS_EVERY_S = 60.0


def create_app(settings: Settings, *, clock_s: Callable[[], float] = time.time) -> FastAPI:
    """The application; nothing is opened before it starts.

    Raises:
        AccountsError: the file of accounts cannot be used.
    """
    policy = contracts.policy("gateway")
    channels = frozenset(name.removeprefix("raw.") for name in contracts.topics() if name.startswith("raw."))
    accounts_file = settings.keys / "gateway.yaml"
    if accounts.generate(accounts_file, _first_accounts(settings, channels), policy):
        log.info("made %s with the accounts of %s", accounts_file, roots.region_of(settings))
    known = accounts.load(accounts_file, policy)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        open_producer = partial(
            AcknowledgedProducer,
            acknowledge_timeout_s=policy["acknowledge_timeout_s"],
            linger_ms=policy["linger_ms"],
            max_queued_bytes=2 * policy["max_in_flight_bytes"],  # the door's own bound bites first
            max_value_bytes=policy["max_message_bytes"],
        )
        producers = RegionProducers(
            regions.declared(), roots.region_of(settings), partial(roots.bootstrap_of, settings), open_producer
        )
        nonces = Nonces(settings.run / "gateway_nonces.sqlite", clock_s)
        door = app.state.door = Door(policy, known, channels, producers, nonces, clock_s)
        reporter = asyncio.create_task(_report_refusals(door.counters))
        yield
        reporter.cancel()
        with suppress(asyncio.CancelledError):
            await reporter
        await asyncio.to_thread(producers.close, policy["acknowledge_timeout_s"])
        nonces.close()
        door.counters.log_new_refusals()

    app = FastAPI(title="Kefulake gateway", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_routes(app)
    return app


def _first_accounts(settings: Settings, channels: frozenset[str]) -> list[tuple[str, str]]:
    """What a new file of accounts holds: one default account a channel; in a further region those named as its own."""
    known = regions.declared()
    if settings.region is None:
        return [(channel, regions.DEFAULT_ACCOUNT) for channel in channels]
    return [account for account, region in known.by_account.items() if region == settings.region]


def _add_routes(app: FastAPI) -> None:
    async def collect(request: Request) -> Response:
        return await app.state.door.answer(request)

    async def collect_batch(request: Request) -> Response:
        return await app.state.door.answer(request, batch=True)

    # As plain routes: there is nothing in them for FastAPI to inject or validate, and that costs 30 µs a message.
    app.add_route("/collect/{channel}", collect, methods=["GET", "POST"])
    app.add_route("/collect/{channel}/batch", collect_batch, methods=["POST"])

    @app.get("/healthz")
    async def healthz() -> Response:
        door = app.state.door
        kafka = await door.producers.reachable()
        return json_response({"kafka": kafka, "channels": sorted(door.channels)}, 200 if kafka else 503)

    @app.get("/refusals", dependencies=[Depends(_from_here)])
    async def refusals() -> Response:
        return json_response(app.state.door.counters.by_reason())

    @app.get("/metrics", dependencies=[Depends(_from_here)])
    async def metrics() -> Response:
        door = app.state.door
        door.counters.in_flight_bytes.set(door.room.used_bytes)
        return Response(door.counters.prometheus(), media_type="text/plain; version=0.0.4")


def _from_here(request: Request) -> None:
    """Counters are for this machine; whoever comes through a proxy is told by its X-Forwarded-For and sees nothing."""
    if request.client is None or request.client.host not in ("127.0.0.1", "::1"):
        raise HTTPException(404)


async def _report_refusals(counters: Counters) -> None:
    while True:
        await asyncio.sleep(LOG_REFUSALS_EVERY_S)
        counters.log_new_refusals()


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Host (loopback unless told otherwise) and port."""
    parser = argparse.ArgumentParser(prog="python -m jobs.services.gateway", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; for any other put a TLS proxy in front that forwards /collect/ only",
    )
    parser.add_argument("--port", type=int, help="port (default: the stack's, KEFULAKE_PORT_BASE + 11)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Serve until told to stop (SIGTERM); what is taken in by then is still acknowledged."""
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings.load()
    policy = contracts.policy("gateway")
    serve(create_app(settings), host=args.host, port=args.port or settings.ports.gateway, policy=policy)


if __name__ == "__main__":
    main()
