"""Two regions, two roots on real brokers: a record with a wrong region never leaves the root it came into.

The rules run here without Flink, called as the job calls them; `python -m tests.bench.regions` goes the whole way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import yaml
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from infra.stack import ports
from infra.stack.settings import PROJECT_ROOT, Settings
from pipelines import contracts
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.process import clean
from pipelines.privacy.keys import MasterKey
from tests.bench import region_traffic
from tests.bench.erasure_search import patterns, search
from tests.bench.region_proof import examine
from tests.bench.region_traffic import ALSO_RIGHT, FURTHER, HOME, RIGHT, WRONG, Sent, prefix
from tests.e2e.gateway_process import Gateway

pytestmark = [pytest.mark.stack]
Roots = dict[str, Settings]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Iterator[dict[str, str]]:
    """A company of two regions: the policy, the home region's folder and its ports."""
    folder = tmp_path_factory.mktemp("regions")
    schemas = folder / "schemas"
    shutil.copytree(PROJECT_ROOT / "schemas", schemas)
    policy = schemas / "policies" / "regions.yaml"
    policy.write_text(yaml.safe_dump(yaml.safe_load(policy.read_text()) | region_traffic.POLICY), encoding="utf-8")
    own = {"KEFULAKE_SCHEMAS": str(schemas), "KEFULAKE_HOME": str(folder / "lake")}
    own["KEFULAKE_PORT_BASE"] = str(ports.free_base(28_600))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        for name in ("KEFULAKE_REGION", "KEFULAKE_KAFKA", "KEFULAKE_MASTER_KEY"):
            patch.delenv(name, raising=False)
        yield own


def kefulake(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "jobs.cli", *arguments, **more)


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, *arguments], os.environ | more
    return subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def roots(environment) -> Iterator[Roots]:
    """Each region's root with a broker, brought up as a person does it."""
    try:
        for region in (HOME, FURTHER):
            done = kefulake("--region", region, "up", "--only", "kafka")
            assert done.returncode == 0, done.stderr
        home = Path(environment["KEFULAKE_HOME"])
        found = {
            HOME: Settings.load(home),
            FURTHER: Settings.load(f"{home}-{FURTHER}", int(_base(f"{home}-{FURTHER}"))),
        }
        assert found[HOME].ports != found[FURTHER].ports
        yield found
    finally:
        for region in (FURTHER, HOME):
            kefulake("--region", region, "down")


def _base(home: str) -> str:
    return (Path(home) / "port-base").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sent(roots, tmp_path_factory) -> list[Sent]:
    """Right ones through the one door of the home region, wrong ones past it; all cleaned and in the lake."""
    now_s = int(time.time())
    by_door = region_traffic.messages(RIGHT, 3, now_s, 0)
    through_the_door(roots, by_door, tmp_path_factory.mktemp("door"))
    past_it = region_traffic.messages([*WRONG, *RIGHT, *ALSO_RIGHT], 3, now_s, 1000)
    for root, settings in roots.items():
        region_traffic.produce(settings.bootstrap, [one for one in past_it if one.root == root])
    for region, settings in roots.items():
        judge_all(settings, region)
        told = tiering(settings)
        assert told.returncode == 0, told.stderr
    return [*by_door, *past_it]


def through_the_door(roots: Roots, sent: list[Sent], folder: Path) -> None:
    """POST to the home region's gateway, which is told the secrets of both regions' accounts."""
    secrets = roots[HOME].keys / "gateway.yaml"
    secret = {"secret": "s" * 43}
    accounts = {channel: {"default": secret, "shop_sg": secret} for channel in ("web_chat", "app")}
    secrets.write_text(yaml.safe_dump(accounts), encoding="utf-8")
    secrets.chmod(0o600)
    gateway = Gateway(roots[HOME], folder, of=contracts.schemas_folder())
    try:
        for one in sent:
            answer = gateway.post(one.value, f"/collect/{one.channel}?account={one.account}", channel=one.channel)
            assert answer.status_code == 200, answer.text
    finally:
        gateway.stop()


def judge_all(settings: Settings, region: str) -> None:
    """What the Flink job does with all raw messages of a root, but for what the engine knows of the past."""
    context = CleaningContext.create(MasterKey.load(settings), region)
    found = everything_raw(settings)
    headers = [dict(message.headers() or []) for message in found]
    batch = RawBatch(
        [m.value() for m in found], [m.topic() for m in found], [m.partition() for m in found],
        [m.offset() for m in found], [m.timestamp()[1] * 1000 for m in found],
        [h["account"].decode() if "account" in h else None for h in headers], [None] * len(found), [0] * len(found),
        [None] * len(found),
    )  # fmt: skip
    judged = clean(batch, context, time.time_ns() // 1000)
    producer = Producer(
        {"bootstrap.servers": settings.bootstrap, "transactional.id": "rules", "compression.type": "lz4"}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for row in judged.iter_rows(named=True):
        producer.produce(row["topic"], row["record"], key=row["record_key"])
        for entry in row["vault_entries"] or ():
            token, _, value = entry.partition("|")
            producer.produce("identity.vault", value, key=token)
    producer.commit_transaction(30)


def everything_raw(settings: Settings) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": "rules", "enable.partition.eof": True})
    names = [name for name, topic in contracts.topics().items() if topic.format == "raw"]
    there = consumer.list_topics(timeout=10).topics
    places = [TopicPartition(name, number, 0) for name in names for number in there[name].partitions]
    consumer.assign(places)
    found, left = [], len(places)
    while left:
        message = consumer.poll(10)
        assert message is not None
        if message.error() is None:
            found.append(message)
        else:
            left -= 1
    consumer.close()
    return found


def tiering(settings: Settings, **more: str) -> subprocess.CompletedProcess[str]:
    """All tables of one root, until they have caught up."""
    where = {"KEFULAKE_HOME": str(settings.home), "KEFULAKE_PORT_BASE": str(settings.ports.base)}
    return run("-m", "jobs.services.tiering", "--once", "--no-upkeep", **where, **more)


def test_no_byte_of_a_record_is_outside_the_root_it_came_into(roots, sent):
    report = examine({root: settings.home for root, settings in roots.items()}, sent)
    assert report["wrong"] == []
    assert report["wrong_region"] == {HOME: 6, FURTHER: 15}  # 2 and 5 kinds of wrong ones, 3 of each
    for root, other in ((HOME, FURTHER), (FURTHER, HOME)):
        assert report["hits"][root][other] == 0
        # the positive control: the same search does find what is at home here
        assert {"lake/silver/interactions", "kafka/raw.web_chat-0"} <= set(report["stores"][root][root])


def test_the_search_would_have_found_a_stray(roots, sent):
    """One record copied over by hand, compressed in the other root's Kafka: the proof must not overlook it."""
    stray = next(one for one in sent if one.root == FURTHER)
    producer = Producer({"bootstrap.servers": roots[HOME].bootstrap, "compression.type": "lz4"})
    producer.produce("policy.baselines", stray.value * 50, key=b"stray")
    assert producer.flush(30) == 0
    found = search(roots[HOME].home, patterns([prefix(FURTHER)]))
    assert [place.partition("/")[2].partition("-")[0] for place in found] == ["policy.baselines"]
    assert examine({root: settings.home for root, settings in roots.items()}, sent)["wrong"] != []


def test_a_root_is_not_fed_from_another_regions_cluster(roots, sent):
    """The home region's tiering with the address of sg's broker: it says why, and writes nothing."""
    lake = roots[HOME].lake
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}
    told = tiering(roots[HOME], KEFULAKE_KAFKA=roots[FURTHER].bootstrap)
    assert told.returncode == 1
    assert f"belongs to region {FURTHER}, not to {HOME}: nothing was read from it or written to it" in told.stderr
    assert {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()} == before


def test_a_command_refuses_anothers_cluster_too(roots, tmp_path):
    file = tmp_path / "one.ndjson"
    file.write_bytes(orjson.dumps({"message_id": "1"}) + b"\n")
    play = ("replay", str(file), "--channel", "web_chat")
    mixed = kefulake(*play, KEFULAKE_KAFKA=roots[FURTHER].bootstrap)
    assert mixed.returncode == 1
    assert "belongs to region sg, not to cn" in mixed.stderr


def test_a_replay_goes_to_the_region_of_its_account(roots, sent, tmp_path):
    file = tmp_path / "one.ndjson"
    file.write_bytes(orjson.dumps({"message_id": "zqvreplayed"}) + b"\n")
    done = kefulake("replay", str(file), "--channel", "web_chat", "--account", "shop_sg")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {root: len(search(settings.home, {b"zqvreplayed": "utf-8"})) for root, settings in roots.items()}
    assert found == {HOME: 0, FURTHER: 1}
