"""How fast the gateway answers: single messages at a steady rate, then NDJSON batches as fast as they are acknowledged.

Requests are signed before the clock starts, so that the generator costs little of the two cores it shares with gateway
and broker. The rate is open-loop: a request has its planned moment, and its latency counts from there even when the
generator was late, so a stall is not hidden by waiting for it. Afterwards Kafka is asked how many records it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
import orjson
import psutil
import uvloop
import yaml
from confluent_kafka import Consumer, TopicPartition

from infra.stack.settings import Settings
from pipelines.collectors.signatures import signed_headers

REPORT = Path("build/reports/gateway.json")
CHANNEL = "app"
START_S = 30
WARM_UP_S = 3  # the first messages to a topic wait for metadata, and the broker compiles its way through them


def payload(number: int) -> bytes:
    """One app message of about 350 bytes, the size of the bench's flat JSON."""
    return orjson.dumps(
        {
            "message_id": f"bench-{uuid.uuid4().hex}",
            "type": "consultation",
            "user_id": f"u{number % 5000}",
            "session_id": f"s{number % 20000}",
            "content": "订单一直没有发货，客服电话也打不通，麻烦尽快处理一下，谢谢！" * 2,
            "sent_at": int(time.time() * 1000),
        }
    )


def signed_request(secret: str, body: bytes, content_type: str, target: str) -> bytes:
    """A whole HTTP/1.1 request as bytes."""
    headers = signed_headers(secret, "POST", target, int(time.time()), uuid.uuid4().hex, body)
    headers |= {"host": "127.0.0.1", "content-type": content_type, "content-length": str(len(body))}
    head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
    return head.encode() + body


class Client(asyncio.Protocol):
    """One keep-alive connection; an answer is over once its announced length is there."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[int] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    async def ask(self, request: bytes) -> int:
        """Send and wait for the status code."""
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answered

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) if found else 1
        if found and len(body) >= length:
            self._received = b""
            self.answered.set_result(int(head[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(0)


async def connect(port: int, connections: int) -> list[Client]:
    """Open the connections before the clock starts."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(connections)]


async def steady(port: int, requests: list[bytes], rate_per_s: float, connections: int) -> dict:
    """Send at a steady rate over a pool of connections; latency counts from each request's planned moment."""
    free: asyncio.Queue[Client] = asyncio.Queue()
    for client in await connect(port, connections):
        free.put_nowait(client)
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def one(request: bytes, planned_s: float) -> None:
        client = await free.get()
        status = await client.ask(request)
        latencies.append(time.perf_counter() - planned_s)
        statuses[status] = statuses.get(status, 0) + 1
        free.put_nowait(client)

    began_s = time.perf_counter() + 0.1
    tasks = []
    for number, request in enumerate(requests):
        planned_s = began_s + number / rate_per_s
        delay_s = planned_s - time.perf_counter()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        tasks.append(asyncio.create_task(one(request, planned_s)))
    await asyncio.gather(*tasks)
    took_s = time.perf_counter() - began_s
    return {"requests": len(requests), "per_s": round(len(requests) / took_s), "statuses": statuses} | quantiles(
        latencies
    )


async def flat_out(port: int, requests: list[bytes], lines: int, connections: int) -> dict:
    """Each connection sends its next batch once the last one is acknowledged."""
    clients = await connect(port, connections)
    waiting = list(reversed(requests))
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def drain(client: Client) -> None:
        while waiting:
            request, began_s = waiting.pop(), time.perf_counter()
            status = await client.ask(request)
            statuses[status] = statuses.get(status, 0) + 1
            latencies.append(time.perf_counter() - began_s)

    began_s = time.perf_counter()
    await asyncio.gather(*map(drain, clients))
    took_s = time.perf_counter() - began_s
    events = len(requests) * lines
    return {"events": events, "events_per_s": round(events / took_s), "statuses": statuses} | quantiles(latencies)


def quantiles(latencies_s: list[float]) -> dict:
    """p50, p95, p99 and the worst, in milliseconds."""
    ordered = sorted(latencies_s)
    at = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * q))]
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return {f"{name}_ms": round(value * 1000, 1) for name, value in at.items()} | {
        "max_ms": round(ordered[-1] * 1000, 1)
    }


def records_in_kafka(settings: Settings) -> int:
    """Records ever written to the channel's raw topic."""
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "gateway-bench"})
    topic = f"raw.{CHANNEL}"
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    total = sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions)
    consumer.close()
    return total


def running_gateway(settings: Settings) -> subprocess.Popen | None:
    """Use the stack's gateway, or start one for the length of this run."""

    def answers() -> bool:
        try:
            return httpx.get(settings.gateway_url + "/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    if answers():
        return None
    process = subprocess.Popen([sys.executable, "-m", "jobs.services.gateway"])
    deadline_s = time.monotonic() + START_S
    while not answers():
        if time.monotonic() > deadline_s or process.poll() is not None:
            process.terminate()
            raise SystemExit(f"no gateway at {settings.gateway_url}; is Kafka up? Run: kefulake up --only kafka")
        time.sleep(0.2)
    return process


def gateway_process(settings: Settings) -> psutil.Process:
    """The process that listens on the gateway's port."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == "LISTEN" and connection.laddr.port == settings.ports.gateway and connection.pid:
            return psutil.Process(connection.pid)
    raise SystemExit("the gateway's process cannot be seen from here")


def main(argv: list[str] | None = None) -> None:
    """Run both loads and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=1000, help="single requests a second")
    parser.add_argument("--seconds", type=float, default=20, help="length of the single-request run")
    parser.add_argument("--batches", type=int, default=300, help="NDJSON requests")
    parser.add_argument("--lines", type=int, default=1000, help="records a batch")
    parser.add_argument("--connections", type=int, default=64)
    args = parser.parse_args(argv)
    settings = Settings.load()
    started = running_gateway(settings)
    try:
        report = measure(settings, args)
    finally:
        if started:
            started.terminate()
            started.wait(20)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if report["lost_or_twice"]:
        raise SystemExit("Kafka does not hold exactly what was acknowledged")


def measure(settings: Settings, args: argparse.Namespace) -> dict:
    """Sign, send, compare with what Kafka holds."""
    accounts = yaml.safe_load((settings.keys / "gateway.yaml").read_text(encoding="utf-8"))
    secret = accounts[CHANNEL]["default"]["secret"]
    target = f"/collect/{CHANNEL}"
    process = gateway_process(settings)
    warm_up = [
        signed_request(secret, payload(n), "application/json", target) for n in range(int(args.rate * WARM_UP_S))
    ]
    uvloop.run(steady(settings.ports.gateway, warm_up, args.rate, args.connections))
    before = records_in_kafka(settings)
    singles = [
        signed_request(secret, payload(n), "application/json", target) for n in range(int(args.rate * args.seconds))
    ]
    cpu_before = sum(process.cpu_times()[:2])
    single = uvloop.run(steady(settings.ports.gateway, singles, args.rate, args.connections))
    cpu_single = sum(process.cpu_times()[:2]) - cpu_before
    single["gateway_cpu_ms_per_request"] = round(cpu_single / len(singles) * 1000, 3)
    bodies = [b"\n".join(payload(n) for n in range(args.lines)) for _ in range(args.batches)]
    batches = [signed_request(secret, body, "application/x-ndjson", target) for body in bodies]
    cpu_before = sum(process.cpu_times()[:2])
    batch = uvloop.run(flat_out(settings.ports.gateway, batches, args.lines, 4))
    batch["gateway_cpu_us_per_event"] = round((sum(process.cpu_times()[:2]) - cpu_before) / batch["events"] * 1e6, 1)
    acknowledged = single["statuses"].get(200, 0) + batch["statuses"].get(200, 0) * args.lines
    return {
        "single": single,
        "ndjson": batch,
        "gateway_rss_mb": round(process.memory_info().rss / 2**20),
        "acknowledged": acknowledged,
        "lost_or_twice": records_in_kafka(settings) - before - acknowledged,
    }


if __name__ == "__main__":
    main()
