"""Service-centre orders."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
ORDER = {"服务单号": "W1", "受理时间": "2026-01-09 08:00", "故障描述": "不制冷"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"kind": "consultation", "source_message_id": "W1", "response_time_s": None, "handle_time_s": None}),
        (
            {"开始时间": "2026-01-09 08:30", "完成时间": "2026-01-09 09:45"},
            {"response_time_s": 1800.0, "handle_time_s": 4500.0, "replied_at_us": EIGHT_US + 1_800_000_000},
        ),
        (
            {"开始时间": "2026-01-09 08:30", "等待时长(分钟)": "45"},
            {"response_time_s": 2700.0},
        ),  # what is reported counts
        (
            {"开始时间": "2026-01-09 07:30"},
            {"response_time_s": -1800.0},
        ),  # impossible, and for the outlier rules to say
        ({"服务类型": "维修", "工程师": "E7", "处理结果": "已修复"}, {"agent_id": "E7", "outcome": "已修复"}),
        ({"身份证号": "110101199001010000"}, {"national_id": "110101199001010000"}),
        ({"产品型号": "KF-35", "费用": "80"}, {"attributes": '{"product_model":"KF-35","fee_yuan":"80"}'}),
    ],
)
def test_order(parse, shows, change, expected):
    shows(parse("service_center", ORDER | change), occurred_at_us=EIGHT_US, asked_at_us=EIGHT_US, **expected)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"受理时间": None}, "field.missing"),
        ({"开始时间": "稍后"}, "time.unreadable"),
        ({"故障描述": {"a": 1}}, "field.wrong_type"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("service_center", ORDER | change).rule == rule
