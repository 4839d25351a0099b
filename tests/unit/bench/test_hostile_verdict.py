"""The verdict over hostile messages finds each way in which one can go wrong."""

import pytest

from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import PayloadSealer
from tests.bench.hostile_payloads import Hostile
from tests.bench.hostile_verdict import Output, judge, place_all

KEY = MasterKey({1: bytes(32)})
PLACE = ("raw.app", 0, 7)
BROKEN = Hostile("broken", "app", b"{", rules=("payload.not_json",))
SEALED = PayloadSealer(KEY).seal(b"{", "raw.app/0/7")
GOOD = Output("rejected", "payload.not_json", "not JSON", SEALED)


def test_a_reject_with_rule_reason_and_bytes_is_right():
    verdict = judge({PLACE: BROKEN}, [(PLACE, GOOD)], KEY)
    assert verdict.wrong == []
    assert verdict.by_kind["broken"] == {"sent": 1, "rejected": 1, "bytes intact": 1}


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ([], "stands in no output"),
        ([(PLACE, GOOD), (PLACE, GOOD)], "stands in 2 outputs"),
        ([(PLACE, GOOD._replace(outcome="kept", sealed=None))], "kept (payload.not_json), not rejected"),
        ([(PLACE, GOOD._replace(reason=""))], "without rule and reason"),
        ([(PLACE, GOOD._replace(rule="field.missing"))], "rejected by field.missing"),
        ([(PLACE, GOOD._replace(rule="cleaning.failed"))], "the cleaning itself failed"),
        ([(PLACE, GOOD._replace(sealed=None))], "its bytes are not those sent"),
        ([(PLACE, GOOD._replace(sealed=PayloadSealer(KEY).seal(b"}", "raw.app/0/7")))], "its bytes are not those"),
        ([(PLACE, GOOD._replace(sealed=PayloadSealer(KEY).seal(b"{", "raw.app/0/8")))], "its bytes are not those"),
        ([(PLACE, GOOD), (("raw.app", 0, 8), GOOD)], "nobody sent it"),
    ],
)
def test_each_fault_is_told(outputs, told):
    assert any(told in line for line in judge({PLACE: BROKEN}, outputs, KEY).wrong)


class Message:
    """Of Kafka's message what `place_all` looks at."""

    def __init__(self, offset, value):
        self.offset, self.value = lambda: offset, lambda: value
        self.topic, self.partition = lambda: "raw.app", lambda: 0


def test_messages_of_the_gateway_are_found_by_their_bytes_each_once():
    other = BROKEN._replace(payload=b"[")
    sent, wrong = place_all({PLACE: BROKEN}, [BROKEN, other], [Message(7, b"{"), Message(8, b"["), Message(9, b"{")])
    assert (sent, wrong) == ({PLACE: BROKEN, ("raw.app", 0, 8): other, ("raw.app", 0, 9): BROKEN}, [])


def test_a_second_record_and_a_lost_one_are_told():
    _, wrong = place_all({}, [BROKEN], [Message(7, b"{"), Message(8, b"{")])
    assert wrong == ["('raw.app', 0, 8): in the raw topic, and nobody was told so"]
    _, wrong = place_all({}, [BROKEN], [])
    assert "in no raw topic" in wrong[0]
