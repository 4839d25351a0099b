"""Every example under schemas/examples/raw.<channel> is read as its name says: ok_, or bad_<rule>."""

import re
from pathlib import Path

import pytest

from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction, Reject

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
RECEIVED_AT_US = 1768089600_000_000  # 2026-01-11 00:00:00 UTC, after every example
ACCOUNTS = {"email": "help@example.com"}

FILES = [(channel, path) for channel in PARSERS for path in sorted((EXAMPLES / f"raw.{channel}").glob("*"))]


def parse(channel, path):
    return PARSERS[channel](path.read_bytes(), ACCOUNTS.get(channel, "default"), RECEIVED_AT_US)


@pytest.mark.parametrize(("channel", "path"), FILES, ids=[f"{c}/{p.name}" for c, p in FILES])
def test_example_is_read_as_its_name_says(channel, path):
    read = parse(channel, path)
    if path.name.startswith("ok_"):
        assert isinstance(read, Interaction), read
        assert read.occurred_at_us < RECEIVED_AT_US
    else:
        rule = re.fullmatch(r"bad_([a-z_]+\.[a-z_0-9]+?)(-[^.]+)?\.(json|xml|eml|txt)", path.name)[1]
        assert isinstance(read, Reject), read
        assert read.rule == rule
        assert read.reason


@pytest.mark.parametrize("channel", PARSERS)
def test_channel_has_two_good_and_two_bad_examples(channel):
    names = [path.name for path in (EXAMPLES / f"raw.{channel}").glob("*")]
    assert sum(name.startswith("ok_") for name in names) >= 2
    assert sum(name.startswith("bad_") for name in names) >= 2


def test_there_is_a_parser_for_every_raw_topic():
    from pipelines import contracts

    assert {f"raw.{channel}" for channel in PARSERS} == {name for name in contracts.topics() if name.startswith("raw.")}


@pytest.mark.parametrize("channel", PARSERS)
def test_kinds_and_roles_stay_in_the_contract(channel):
    from pipelines import contracts

    kinds, roles = set(contracts.field("kind").values), set(contracts.field("sender_role").values)
    for _, path in [(c, p) for c, p in FILES if c == channel and p.name.startswith("ok_")]:
        read = parse(channel, path)
        assert read.kind in kinds
        assert read.sender_role in roles
