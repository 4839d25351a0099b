"""A gateway process for tests, and a look at what it brought into the raw topics."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
import yaml
from confluent_kafka import Consumer, TopicPartition

from infra.stack.settings import PROJECT_ROOT
from pipelines.collectors import signatures

START_S = 60
# Tightened so that the tests need not wait; everything else is the policy as it stands.
TIGHT = {"body_timeout_s": 1.5, "header_timeout_s": 1.5, "acknowledge_timeout_s": 2, "max_in_flight_bytes": 4_000_000}


class Gateway:
    """A gateway process of its own on the shared stack."""

    def __init__(self, settings, folder: Path, *, of: Path = PROJECT_ROOT / "schemas") -> None:
        self.settings = settings
        self.log = folder / "gateway.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        schemas = folder / "schemas"
        shutil.copytree(of, schemas)
        policy = schemas / "policies" / "gateway.yaml"
        policy.write_text(yaml.safe_dump(yaml.safe_load(policy.read_text(encoding="utf-8")) | TIGHT), encoding="utf-8")
        self.environment = os.environ | {"KEFULAKE_SCHEMAS": str(schemas)}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "jobs.services.gateway", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                if httpx.get(self.url + "/healthz", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        path = self.settings.keys / "gateway.yaml"
        self.accounts = yaml.safe_load(path.read_text(encoding="utf-8"))

    def stop(self, number=signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def signed(self, target: str, body: bytes, *, nonce: str | None = None, channel: str = "app") -> dict[str, str]:
        secret = self.accounts[channel]["default"]["secret"]
        return signatures.signed_headers(secret, "POST", target, int(time.time()), nonce or uuid.uuid4().hex, body)

    def post(self, body: bytes, target="/collect/app", *, nonce=None, channel="app", **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        signed = self.signed(target, body, nonce=nonce, channel=channel)
        return httpx.post(self.url + target, content=body, headers=signed | names, timeout=30)


class Arrivals:
    """What arrives in some raw topics from now on."""

    def __init__(self, settings) -> None:
        self.consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap,
                "group.id": "test",
                "enable.partition.eof": True,
                "fetch.message.max.bytes": 8_000_000,
            }
        )
        self.starts = {channel: self._ends(channel) for channel in ("app", "wechat", "wecom", "web_chat")}

    def _ends(self, channel: str) -> list[TopicPartition]:
        topic = f"raw.{channel}"
        partitions = self.consumer.list_topics(topic, timeout=10).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in partitions]
        return [
            TopicPartition(p.topic, p.partition, self.consumer.get_watermark_offsets(p, timeout=10)[1]) for p in places
        ]

    def messages(self, channel="app") -> list:
        starts = self.starts[channel]
        self.consumer.assign(starts)
        found, open_partitions = [], len(starts)
        while open_partitions:
            message = self.consumer.poll(10)
            assert message is not None
            if message.error() is None:
                found.append(message)
            else:
                open_partitions -= 1
        return found

    def values(self, channel="app") -> list[bytes]:
        return sorted(message.value() for message in self.messages(channel))
