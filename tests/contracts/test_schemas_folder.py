"""The contracts as they stand: every file is used, every topic has examples that pass and that fail."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from pipelines import contracts
from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction, Reject

EXAMPLES = contracts.schemas_folder() / "examples"
JSON_TOPICS = sorted(name for name, topic in contracts.topics().items() if topic.format == "json")
RAW_TOPICS = sorted(name for name, topic in contracts.topics().items() if topic.format == "raw")
RECEIVED_US = 1_767_960_000_000_000  # 2026-01-09 12:00 UTC, later than every instant in the examples


def examples(topic, verdict):
    return sorted(p for p in (EXAMPLES / topic).glob(f"{verdict}_*"))


@pytest.mark.parametrize("name", JSON_TOPICS)
def test_json_examples_pass_and_fail_as_their_names_say(name):
    validator = Draft202012Validator(contracts.json_schema(contracts.topic(name)))
    good, bad = examples(name, "ok"), examples(name, "bad")
    assert good, f"{name} has no ok_ example"
    assert bad, f"{name} has no bad_ example"
    for path in good:
        assert list(validator.iter_errors(json.loads(path.read_text()))) == [], path.name
    for path in bad:
        assert list(validator.iter_errors(json.loads(path.read_text()))), f"{path.name} should be refused"


@pytest.mark.parametrize("name", RAW_TOPICS)
def test_raw_examples_are_read_or_refused_by_the_channel_parser(name):
    parse = PARSERS[name.removeprefix("raw.")]
    good, bad = examples(name, "ok"), examples(name, "bad")
    assert len(good) >= 2
    assert len(bad) >= 2
    for path in good:
        assert type(parse(path.read_bytes(), "a", RECEIVED_US, f"{path.name}:1")) is Interaction, path.name
    for path in bad:
        refused = parse(path.read_bytes(), "a", RECEIVED_US, f"{path.name}:1")
        # the file's name carries the rule it must break: bad_<rule>[-<what>]
        assert type(refused) is Reject, path.name
        assert refused.rule == re.match(r"bad_([a-z_]+\.[a-z_]+)", path.name)[1], path.name


def test_no_example_folder_without_a_topic():
    assert {p.name for p in EXAMPLES.iterdir()} == set(contracts.topics())


def test_every_topic_is_used():
    """A topic feeds a table, or a declared consumer of ours reads it: the job, tiering its erasures, a restore."""
    feeding = {topic for table in contracts.tables().values() for topic in table.topics}
    unfed = set(contracts.topics()) - feeding
    assert unfed == {"policy.baselines", "identity.map", "privacy.erasures", "restore.seen", "restore.seeded"}


def test_every_channel_has_its_topic_and_its_word():
    assert {f"raw.{channel}" for channel in PARSERS} == set(RAW_TOPICS)
    assert set(contracts.field("channel").values) == set(PARSERS)


def test_every_field_is_used():
    listed = {f.name for t in contracts.tables().values() for f in t.fields}
    listed |= {f.name for t in contracts.topics().values() for f in t.fields}
    assert set(contracts.fields()) - listed == set()


def test_outputs_carry_raw_coordinates():
    for name in ("interactions.clean", "feedback.clean", "ticket_events.clean", "customers.clean", "orders.clean",
                 "quarantine.rejects", "quarantine.duplicates", "review.queue"):  # fmt: skip
        assert {"raw_topic", "raw_partition", "raw_offset"} <= set(contracts.topic(name).required), name


def test_no_clear_identifier_is_a_column():
    """What people see is tokens: none of the parsed identifiers is a column of any table."""
    clear = {"phone", "national_id", "email", "unionid", "openid", "external_userid", "member_number", "user_handle"}
    clear |= {"name", "birth_date", "address", "customer_no"}
    for table in contracts.tables().values():
        assert clear & {f.name for f in table.fields} == set(), table.name
