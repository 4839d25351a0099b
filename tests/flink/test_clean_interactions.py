"""The cleaning job on a real cluster: one output a message, redeployed with nothing lost, refused where it must be."""

import os
import shutil
import signal
import time
from uuid import UUID

import orjson
import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.stack import flink_jobs, flink_records, supervisor
from infra.stack.flink_records import JobRecord
from infra.stack.settings import PROJECT_ROOT
from jobs.ops import deploy
from jobs.services import job_keeper
from pipelines import contracts
from pipelines.lineage.receivers import events_file

JOB = "clean_interactions"
OUTPUTS = ("interactions.clean", "feedback.clean", "ticket_events.clean", "customers.clean", "orders.clean",
           "quarantine.rejects", "quarantine.duplicates", "review.queue")  # fmt: skip
SENT = 1_767_960_000
WAIT_S = 180
ORDER = {"order_id": "O1", "status": "paid", "ordered_at": SENT - 60, "paid_at": SENT, "currency": "CNY"}
ORDER |= {"amount_minor": 1290}


def send(stack, messages, key=None):
    """Produce (topic, value, headers); the coordinates they got. With a key they keep their order."""
    placed = []
    producer = Producer({"bootstrap.servers": stack.bootstrap, "acks": "all"})
    for topic, value, headers in messages:
        producer.produce(topic, value, key, headers=headers, on_delivery=lambda e, m: placed.append((e, m)))
        producer.poll(0)
    producer.flush(30)
    assert all(error is None for error, _ in placed)
    return {(m.topic(), m.partition(), m.offset()) for _, m in placed}


def committed_outputs(stack):
    """Every committed record of the output topics, by raw coordinates: (topic, record), a list each."""
    settings = {"bootstrap.servers": stack.bootstrap, "group.id": "test", "isolation.level": "read_committed"}
    consumer = Consumer(settings | {"enable.partition.eof": True, "auto.offset.reset": "earliest"})
    places = [TopicPartition(t, p, 0) for t in OUTPUTS for p in consumer.list_topics(t).topics[t].partitions]
    consumer.assign(places)
    found, ended = {}, set()  # an end is told again when a transaction is committed behind it
    while len(ended) < len(places):
        for message in consumer.consume(1000, 1.0):
            if message.error():
                ended.add((message.topic(), message.partition()))
                continue
            record = orjson.loads(message.value())
            place = (record["raw_topic"], record["raw_partition"], record["raw_offset"])
            found.setdefault(place, []).append((message.topic(), record))
    consumer.close()
    return found


def lineage(stack):
    """State and run of every lineage event of the job."""
    events = [orjson.loads(line) for line in events_file(stack).read_bytes().splitlines()]
    return [(e["eventType"], e["run"]["runId"]) for e in events if e["job"]["name"] == JOB]


def outputs_of(stack, coordinates):
    """Wait until each of the coordinates has an output; what they became."""
    deadline = time.monotonic() + WAIT_S
    while True:
        found = committed_outputs(stack)
        if coordinates <= set(found):
            return {place: found[place] for place in coordinates}
        assert time.monotonic() < deadline, f"{len(coordinates - set(found))} messages reached no output"
        time.sleep(1)


def turn(number, **fields):
    base = {"message_id": f"t{number}", "session_id": "s", "visitor_id": "v", "sender": "customer", "sent_at": SENT}
    return orjson.dumps(base | {"text": f"第{number}个问题"} | fields)


def test_each_message_stands_in_exactly_one_output(job):
    review = {
        "event": "rating",
        "score": 1,
        "score_scale_max": 5,
        "text": "包装破了，送来的时候里面全洒了",
        "order_id": "D1",
    }
    messages = [
        ("raw.web_chat", turn(1), []),
        ("raw.web_chat", turn(1, sent_at=SENT + 9), []),  # the platform sent it again
        ("raw.web_chat", turn(2, text=" \u200b"), []),  # nothing to see
        ("raw.web_chat", turn(3, **review), []),
        ("raw.web_chat", turn(4, **review | {"sent_at": SENT + 60}), []),  # the same feedback a minute later
        ("raw.web_chat", turn(5, **review | {"sent_at": SENT + 90_000}), []),  # and 25 hours later: honest
        ("raw.web_chat", turn(6, event="complaint", text="你们看着办吧"), []),  # a complaint that names nothing
        ("raw.web_chat", None, []),  # a record without bytes
        ("raw.app", b"\xff\xfe not json", []),
        ("raw.web_chat", turn(7), [("attempt", b"many")]),
        ("raw.crm", orjson.dumps({"customer_no": "C1", "updated_at": SENT, "name": "王一"}), []),
        ("raw.orders", orjson.dumps(ORDER), []),
        ("raw.orders", orjson.dumps(ORDER), []),  # the order system sent it again
        ("raw.orders", orjson.dumps(ORDER | {"refunded_minor": 1290, "updated_at": SENT + 60}), []),  # a revision
        ("raw.orders", orjson.dumps(ORDER | {"amount_minor": 12.9}), []),  # yuan where fen are asked for
    ]
    # By one key, as collectors send a conversation: over two partitions the later feedback may be judged first.
    placed = [(message, next(iter(send(job, [message], key=b"s")))) for message in messages]
    found = outputs_of(job, {place for _, place in placed})
    assert [len(found[place]) for _, place in placed] == [1] * 15
    became = [found[place][0] for _, place in placed]
    assert [(topic, record.get("rule")) for topic, record in became] == [
        ("interactions.clean", None),
        ("quarantine.duplicates", "event_id"),
        ("quarantine.rejects", "text.blank"),
        ("feedback.clean", None),
        ("quarantine.duplicates", "feedback.repeated"),
        ("feedback.clean", None),
        ("review.queue", "complaint.vague"),
        ("quarantine.rejects", "payload.empty"),
        ("quarantine.rejects", "payload.bad_encoding"),  # FF FE begins no UTF-8
        ("quarantine.rejects", "header.bad_attempt"),
        ("customers.clean", None),
        ("orders.clean", None),
        ("quarantine.duplicates", "event_id"),
        ("orders.clean", None),
        ("quarantine.rejects", "field.wrong_type"),
    ]
    for later, first in ((1, 0), (4, 3), (12, 11)):
        duplicate, origin = became[later][1], placed[first][1]
        named = tuple(duplicate[f"duplicate_of_{part}"] for part in ("topic", "partition", "offset"))
        assert named == origin


def test_a_changed_threshold_and_a_new_column_lose_and_double_nothing(job, tmp_path, monkeypatch):
    """Deployed while messages come in: handle time over an hour becomes a reject, `evidence` becomes a column."""
    schemas = tmp_path / "schemas"
    shutil.copytree(contracts.schemas_folder(), schemas)
    edit(schemas / "policies/cleaning.yaml", lambda policy: policy["invalid"].update(max_handle_time_s=3600))
    edit(schemas / "topics/interactions.clean.yaml", lambda topic: topic["fields"].append("evidence"))
    before = send(job, [("raw.web_chat", turn(f"a{i}", handle_time_s=7200), []) for i in range(300)])
    monkeypatch.setenv(contracts.SCHEMAS_VARIABLE, str(schemas))
    arguments = deploy.job_arguments(job)
    sent_meanwhile = send(job, [("raw.web_chat", turn(f"b{i}"), []) for i in range(300)])
    outputs_of(job, before)
    replaced = flink_records.load(job, JOB).runs[0].job_id
    told = dict(deploy.deploy(job, JobRecord(JOB, deploy.JOBS[JOB], arguments, 2)))
    assert "savepoint" in told["resumed from"]
    assert lineage(job)[-2:] == [("COMPLETE", str(UUID(replaced))), ("START", str(UUID(told["job id"])))]
    after = send(job, [("raw.web_chat", turn(f"c{i}", handle_time_s=7200), []) for i in range(300)])
    again = send(job, [("raw.web_chat", turn(f"a{i}"), []) for i in range(300)])  # known before the deployment
    found = outputs_of(job, before | sent_meanwhile | after | again)
    assert {len(outputs) for outputs in found.values()} == {1}
    assert {found[p][0][0] for p in before | sent_meanwhile} == {"interactions.clean"}
    assert {found[p][0][1].get("rule") for p in after} == {"time.handle_impossible"}
    assert {found[p][0][0] for p in again} == {"quarantine.duplicates"}  # the state came along


@pytest.mark.soak
def test_four_dead_job_managers_forget_and_double_nothing_and_leave_no_old_snapshots(job):
    """What the keeper deletes of old runs must be needed by none that follows."""
    keeper = job_keeper.Keeper(job)
    known = send(job, [("raw.web_chat", turn(f"k{i}"), []) for i in range(5000)])
    outputs_of(job, known)
    for death in range(4):
        os.kill(supervisor.states(job)["flink-jobmanager"]["pid"], signal.SIGKILL)
        before = flink_records.load(job, JOB).runs[0].job_id
        runs = await_snapshot(job, keeper, before)
        again = send(job, [("raw.web_chat", turn(f"k{i}"), []) for i in range(death * 1000, (death + 1) * 1000)])
        new = send(job, [("raw.web_chat", turn(f"n{death}-{i}"), []) for i in range(1000)])
        found = outputs_of(job, again | new)
        assert {len(outputs) for outputs in found.values()} == {1}
        assert {found[place][0][0] for place in again} == {"quarantine.duplicates"}
        assert {found[place][0][0] for place in new} == {"interactions.clean"}
    keeper.look()
    assert [run.job_id for run in runs[2:] if (job.checkpoints / run.job_id).exists()] == []
    assert len(runs) >= 5


@pytest.mark.soak
def test_a_job_manager_that_dies_after_a_deployment_resumes_what_the_savepoint_held(job):
    """The checkpoint after a savepoint must not need its files where they were (FLINK-39964: with CLAIM it does).

    The state is large enough to be in files: a small one stays within the metadata and shows nothing.
    """
    known = send(job, [("raw.web_chat", turn(f"d{i}"), []) for i in range(20_000)])
    outputs_of(job, known)
    arguments = [*deploy.job_arguments(job), "--checkpoint-s", "2"]
    told = dict(deploy.deploy(job, JobRecord(JOB, deploy.JOBS[JOB], arguments, 2)))
    assert "savepoint" in told["resumed from"]
    await_snapshot(job, keeper := job_keeper.Keeper(job), before=None)
    files = [path for path in job.savepoints.rglob("*") if path.name != "_metadata" and path.is_file()]
    assert sum(path.stat().st_size for path in files) > 500_000
    deployed = flink_records.load(job, JOB).runs[0].job_id
    os.kill(supervisor.states(job)["flink-jobmanager"]["pid"], signal.SIGKILL)
    await_snapshot(job, keeper, deployed)
    again = send(job, [("raw.web_chat", turn(f"d{i}"), []) for i in range(0, 20_000, 20)])
    found = outputs_of(job, again)
    assert {outputs[0][0] for outputs in found.values()} == {"quarantine.duplicates"}
    assert {len(outputs) for outputs in found.values()} == {1}


def await_snapshot(stack, keeper, before):
    """Let the keeper look until a newer run has completed a checkpoint of its own; the runs then."""
    deadline = time.monotonic() + WAIT_S
    while True:
        keeper.look()
        runs = flink_records.load(stack, JOB).runs
        if runs[0].job_id != before and any((stack.checkpoints / runs[0].job_id).glob("chk-*/_metadata")):
            return runs
        assert time.monotonic() < deadline, f"no run after {before} has a checkpoint"
        time.sleep(0.5)


def edit(path, change):
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, allow_unicode=True))


def test_state_that_cannot_be_carried_over_is_refused_before_anything_stops(job, tmp_path):
    """The same job, but remembering messages by another key: its state would answer a different question."""
    running = flink_jobs.running_job(job, JOB).job_id
    script = tmp_path / "clean_interactions.py"
    script.write_text(
        "from jobs.flink import clean_interactions, cleaning_sql\n"
        "clean_interactions.ORDERED_VIEW = cleaning_sql.ORDERED_VIEW.replace('BY event_id', 'BY record_key')\n"
        "clean_interactions.main()\n"
    )
    record = flink_records.load(job, JOB)
    with pytest.raises(deploy.Refused, match=r"(?s)nothing was stopped.*gone: OverAggregate partitionBy=\[event_id\]"):
        deploy.deploy(job, JobRecord(JOB, str(script), deploy.job_arguments(job), 2))
    assert flink_jobs.running_job(job, JOB).job_id == running
    assert flink_records.load(job, JOB) == record
    assert os.path.exists(PROJECT_ROOT / record.script)


def test_contracts_that_do_not_fit_the_rules_are_refused_before_anything_stops(job, tmp_path, monkeypatch):
    """A policy without one threshold would make every message a reject; the rehearsal meets it first."""
    running = flink_jobs.running_job(job, JOB).job_id
    schemas = tmp_path / "schemas"
    shutil.copytree(contracts.schemas_folder(), schemas)
    edit(schemas / "policies/cleaning.yaml", lambda policy: policy["invalid"].pop("max_handle_time_s"))
    monkeypatch.setenv(contracts.SCHEMAS_VARIABLE, str(schemas))
    with pytest.raises(deploy.Refused, match=r"(?s)nothing was stopped.*cleaning rules cannot run"):
        deploy.deploy(job, JobRecord(JOB, deploy.JOBS[JOB], deploy.job_arguments(job), 2))
    assert flink_jobs.running_job(job, JOB).job_id == running


def test_unsound_contracts_are_refused_before_anything_stops(job, tmp_path, monkeypatch):
    schemas = tmp_path / "schemas"
    shutil.copytree(contracts.schemas_folder(), schemas)
    edit(schemas / "topics/raw.app.yaml", lambda topic: topic.update(retention=1))
    monkeypatch.setenv(contracts.SCHEMAS_VARIABLE, str(schemas))
    with pytest.raises(contracts.ContractError, match="unknown key"):
        deploy.job_arguments(job)
