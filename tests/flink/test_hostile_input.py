"""Hostile input through the gateway and the running job: nothing stops, each message is judged once, bytes are kept.

The large version, with 5 MB bodies and Delta, is ``make hostile``; both draw from tests/bench/hostile_payloads.py.
"""

from __future__ import annotations

from collections import Counter

import pytest

from pipelines.privacy.keys import MasterKey
from tests.bench import hostile_verdict as verdicts
from tests.bench.honest_forms import CHANNELS
from tests.bench.hostile_door import Door
from tests.bench.hostile_payloads import Sizes, kafka_only, payloads
from tests.bench.hostile_senders import (
    HONEST,
    Honest,
    at_the_door,
    into_kafka,
    now_s,
    refused_by_kafka,
    renumbered,
    through_gateway,
)
from tests.bench.hostile_watch import Watch, wait_until
from tests.e2e.gateway_process import Gateway
from tests.flink.conftest import JOB

SEED = 20_260_109
SIZES = Sizes(random_examples=3, large=300_000, largest=1_500_000)
RAW = [f"raw.{channel}" for channel in CHANNELS]
WAIT_S = 120


@pytest.fixture(scope="module")
def door(job, tmp_path_factory):
    """A client of a gateway on the stack of the job."""
    gateway = Gateway(job, tmp_path_factory.mktemp("gateway"))
    client = Door(gateway.url, gateway.accounts)
    yield client
    client.close()
    gateway.stop()


def outputs_of(settings, sent):
    """Outputs of these messages alone: other tests send to the same topics."""
    return [(place, output) for place, output in verdicts.in_kafka(settings) if place in sent]


def judged(settings, sent):
    """Wait until every message has an output, and hold all against what was sent."""
    wait_until(lambda: {place for place, _ in outputs_of(settings, sent)} == set(sent), WAIT_S)
    return verdicts.judge(sent, outputs_of(settings, sent), MasterKey.load(settings))


@pytest.fixture(scope="module")
def watch(job):
    """Looks at the job from its first judged message on."""
    honest = Honest(now_s())
    assert judged(job, into_kafka(job, [honest.one(channel) for channel in CHANNELS * 2])).wrong == []
    watching = Watch(job, JOB)
    assert watching.workers() >= 1
    watching.start()
    return watching


def test_hostile_messages_in_kafka_are_judged_once_and_stop_nothing(job, watch):
    honest, at_s = Honest(now_s() - 1, prefix=4), now_s()
    hostile = [*payloads(SEED, at_s, SIZES), *kafka_only(SEED, at_s, SIZES)]
    verdict = judged(job, into_kafka(job, honest.between(hostile)))
    assert verdict.wrong == []
    assert verdict.by_kind[HONEST]["kept"] == verdict.by_kind[HONEST]["sent"] > len(hostile) // 5
    assert verdict.by_kind["10,000 deep"] == Counter(
        {"sent": 4 * len(CHANNELS), "rejected": 4 * len(CHANNELS), "bytes intact": 4 * len(CHANNELS)}
    )
    assert refused_by_kafka(job) == []


def test_hostile_messages_through_the_gateway_are_judged_once_and_stop_nothing(job, watch, door):
    honest, before = Honest(now_s() - 2, prefix=5), verdicts.ends(job, RAW)
    hostile = [renumbered(message) for message in payloads(SEED + 1, now_s(), SIZES)]
    taken, wrong = through_gateway(door, honest.between(hostile))
    turned, answers, faults = at_the_door(door, CHANNELS, honest, bytes(2_097_153))
    assert (wrong, faults) == ([], [])
    # wechat and wecom have an XML bomb for two cases of the others
    assert len(answers) == 13 * (len(CHANNELS) - 2) + 2 * 12
    sent, strays = verdicts.place_all({}, taken + turned, verdicts.records(job, RAW, before))
    assert strays == []
    assert verdicts.judge(sent, [], MasterKey.load(job)).wrong != []  # not judged yet is told
    assert judged(job, sent).wrong == []


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_whatever_a_sender_compresses_with_is_read(job, watch, compression):
    honest = Honest(now_s() - 3, prefix=6 + ["gzip", "snappy", "lz4", "zstd"].index(compression) * 10)
    sent = into_kafka(job, [honest.one(channel) for channel in CHANNELS], compression=compression)
    assert judged(job, sent).wrong == []


def test_the_same_job_and_the_same_workers_run_on(watch):
    assert watch.faults() == []
