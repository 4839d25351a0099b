"""Store visits and service-centre orders from spreadsheets."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
VISIT = {"记录编号": "R1", "到店时间": "2026/1/9 8:00", "咨询内容": "换货"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"kind": "consultation", "text": "换货", "source_message_id": "R1", "response_time_s": None}),
        ({"等待时长(分钟)": "2.5"}, {"response_time_s": 150.0}),  # minutes become seconds
        ({"等待时长（分钟）": "3分钟"}, {"response_time_s": 180.0}),  # full-width brackets, unit typed into the cell
        ({"服务时长(分钟)": 10}, {"handle_time_s": 600.0}),
        ({"满意度": "非常满意"}, {"score": 5.0, "score_scale_max": 5.0}),
        ({"满意度": "9", "满分": "10"}, {"score": 9.0, "score_scale_max": 10.0}),
        ({"记录类型": "投诉"}, {"kind": "complaint"}),
        ({"记录类型": "登记", "咨询内容": ""}, {"kind": "record", "text": None}),
        (
            {"记录类型": "咨询", "咨询内容": ""},
            {"kind": "consultation", "text": None},
        ),  # says nothing: for the blank rule
        ({"咨询内容": ""}, {"kind": "record"}),
        ({"手机号": " 13800000001", "会员号": "M1"}, {"phone": "13800000001", "member_number": "M1"}),
        ({"手机号": 13800000001}, {"phone": "13800000001"}),
        ({"接待时间": "2026/1/9 8:02"}, {"asked_at_us": EIGHT_US, "replied_at_us": EIGHT_US + 120_000_000}),
        ({"天气": "晴"}, {"attributes": '{"other":{"天气":"晴"}}'}),  # a column we have no name for is not lost
    ],
)
def test_visit(parse, shows, change, expected):
    shows(parse("store", VISIT | change), occurred_at_us=EIGHT_US, sender_role="customer", **expected)


def test_english_keys_read_the_same(parse):
    chinese = parse("store", VISIT | {"手机号": "13800000001", "满意度": "4", "满分": "5"})
    english = parse(
        "store",
        {
            "record_no": "R1",
            "visited_at": "2026-01-09 08:00",
            "content": "换货",
            "phone": "13800000001",
            "score": 4,
            "score_scale_max": 5,
        },
    )
    assert chinese == english


def test_row_without_a_number_is_known_by_file_and_line(parse):
    row = {"到店时间": "2026/1/9 8:00", "咨询内容": "换货"}
    assert parse("store", row, source_ref="0109.csv:7").source_message_id == "0109.csv:7"
    assert parse("store", row).source_message_id is None


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"到店时间": ""}, "field.missing"),
        ({"等待时长(分钟)": "很久"}, "field.wrong_type"),
        ({"等待时长(分钟)": "nan"}, "field.wrong_type"),  # Python would call it a number
        ({"满意度": [5]}, "field.wrong_type"),
        ({"记录类型": "算命"}, "field.unknown_value"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("store", VISIT | change).rule == rule
