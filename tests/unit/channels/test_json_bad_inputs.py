"""A JSON parser's published test suite, one file a message: what must not parse is a reject, nothing stops.

Its files are data, which never lies in the project: where they are not, `test_hostile_bytes.py` is what is left.
"""

import os
from pathlib import Path

import pytest

from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction, Reject

DATA = Path(os.environ.get("KEFULAKE_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
FILES = sorted((DATA / "json_bad_inputs").glob("*.json"))
RECEIVED_AT_US = 1768089600_000_000

pytestmark = pytest.mark.skipif(not FILES, reason=f"no files in {DATA / 'json_bad_inputs'}; set KEFULAKE_DATA")


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_file_is_judged_without_raising(path):
    payload = path.read_bytes()
    found = PARSERS["web_chat"](payload, "default", RECEIVED_AT_US)
    assert isinstance(found, Interaction | Reject)
    if path.name.startswith("n_"):
        assert found.rule in ("payload.not_json", "payload.bad_encoding")
    if path.name.startswith("y_"):  # valid JSON, but no chat turn: the reason must not claim a syntax error
        assert found.rule in ("payload.not_object", "field.missing", "field.wrong_type")


@pytest.mark.parametrize("channel", sorted(PARSERS))
def test_no_file_stops_any_channel(channel):
    for path in FILES:
        assert isinstance(PARSERS[channel](path.read_bytes(), "default", RECEIVED_AT_US), Interaction | Reject)
