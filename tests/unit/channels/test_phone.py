"""Call-detail records."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
SECOND_US = 1_000_000
CALL = {"call_id": "c1", "direction": "inbound", "caller": "13800000001", "callee": "400", "started_at": 1767916800}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"transcript": "冰箱不制冷"}, {"kind": "consultation", "text": "冰箱不制冷", "phone": "13800000001"}),
        (
            {"disposition": "abandoned"},
            {"kind": "record", "text": None, "outcome": "abandoned"},
        ),  # no words: no blank question
        ({"transcript": ""}, {"kind": "consultation", "text": ""}),  # a transcript that came, and came empty
        (
            {"transcript": [{"speaker": "customer", "text": "喂"}, {"speaker": "agent", "text": "您好"}]},
            {"text": "客户：喂\n坐席：您好"},
        ),
        ({"direction": "outbound", "transcript": "回访"}, {"kind": "message", "sender_role": "agent", "phone": "400"}),
        ({"talk_s": 60, "hold_s": 5, "wrap_s": 20.5}, {"handle_time_s": 85.5}),
        ({"talk_s": 60}, {"handle_time_s": 60.0}),
        ({}, {"handle_time_s": None}),  # not reported is not zero
        (
            {"queue_wait_s": 12, "queued_at": 1767916805, "answered_at": 1767916817},
            {
                "response_time_s": 12.0,
                "asked_at_us": EIGHT_US + 5 * SECOND_US,
                "replied_at_us": EIGHT_US + 17 * SECOND_US,
            },
        ),
        ({"answered_at": 1767916817}, {"asked_at_us": EIGHT_US, "response_time_s": None}),
        (
            {"recording": {"uri": "s3://r/c1.wav", "type": "audio/wav", "size": 12, "sha256": "ab"}},
            {"media": '[{"uri":"s3://r/c1.wav","type":"audio/wav","size":12,"sha256":"ab"}]'},
        ),
    ],
)
def test_call(parse, shows, change, expected):
    shows(parse("phone", CALL | change), occurred_at_us=EIGHT_US, session_id="c1", **expected)


def test_survey_is_feedback_on_the_call_with_an_id_of_its_own(parse, shows):
    read = parse(
        "phone", {"event": "survey", "call_id": "c1", "answered_at": 1767916800, "score": 4, "score_scale_max": 5}
    )
    shows(read, kind="feedback", session_id="c1", source_message_id="survey:c1", score=4.0, score_scale_max=5.0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"direction": None}, "field.missing"),  # else caller and callee could be swapped
        ({"direction": "sideways"}, "field.unknown_value"),
        ({"transcript": 5}, "field.wrong_type"),
        ({"transcript": [{"speaker": "nobody", "text": "x"}]}, "field.unknown_value"),
        ({"recording": {"type": "audio/wav"}}, "field.missing"),
        ({"wrap_s": "20"}, "field.wrong_type"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("phone", CALL | change).rule == rule
