"""WeChat official account XML, and the mini program's JSON, which has the same fields."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai


PUSH = {
    "ToUserName": "gh_1",
    "FromUserName": "o1",
    "CreateTime": 1767916800,
    "MsgType": "text",
    "MsgId": 23456789012345678,
}


def xml(fields):
    def element(name, value):
        return f"<{name}>{value}</{name}>" if isinstance(value, int) else f"<{name}><![CDATA[{value}]]></{name}>"

    return ("<xml>\n" + "\n".join(element(n, v) for n, v in fields.items() if v is not None) + "\n</xml>").encode()


CASES = [
    ({"Content": "退款 & <急>"}, {"text": "退款 & <急>", "kind": "message", "source_message_id": "23456789012345678"}),
    (
        {"MsgType": "voice", "Recognition": "我要退货", "MediaId": "v1"},
        {"text": "我要退货"},
    ),  # speech as the platform heard it
    (
        {"MsgType": "image", "PicUrl": "https://p.example.com/1", "MediaId": "i1"},
        {"text": None, "media": '[{"uri":"https://p.example.com/1","type":"image","size":null,"sha256":null}]'},
    ),
    (
        {"MsgType": "video", "MediaId": "v1"},
        {"media": '[{"uri":"media_id:v1","type":"video","size":null,"sha256":null}]'},
    ),
    ({"MsgType": "location", "Label": "人民路"}, {"text": "人民路", "attributes": '{"type":"location"}'}),
    (
        {"MsgType": "link", "Title": "订单", "Description": "页", "Url": "https://x.example.com"},
        {"text": "页", "subject": "订单"},
    ),
    ({"UnionId": "un1"}, {"unionid": "un1", "openid": "o1"}),
]


@pytest.mark.parametrize("channel", ["wechat", "mini_program"])
@pytest.mark.parametrize(("change", "expected"), CASES)
def test_push_reads_the_same_from_xml_and_json(parse, shows, channel, change, expected):
    fields = PUSH | change
    payload = xml(fields) if channel == "wechat" else fields
    shows(
        parse(channel, payload),
        occurred_at_us=EIGHT_US,
        sender_role="customer",
        **({"openid": "o1"} | expected),
    )


def test_push_repeated_by_the_platform_keeps_its_id(parse, shows):
    event = PUSH | {"MsgType": "event", "Event": "subscribe", "MsgId": None}
    first, again = parse("wechat", xml(event)), parse("wechat", xml(event))
    assert first.source_message_id == again.source_message_id
    # another second, another event or another sender is another message
    others = [event | {"CreateTime": 1767916801}, event | {"Event": "unsubscribe"}, event | {"FromUserName": "o2"}]
    assert len({parse("wechat", xml(other)).source_message_id for other in [event, *others]}) == 4
    assert "o1" not in first.source_message_id  # an openid is personal, message IDs stay readable
    shows(first, kind="record", outcome="subscribe")


@pytest.mark.parametrize(
    ("opercode", "role", "kind"),
    [(2002, "agent", "message"), (2003, "customer", "message"), (1004, "system", "record")],
)
def test_message_record(parse, shows, opercode, role, kind):
    read = parse(
        "wechat", {"openid": "o1", "opercode": opercode, "text": "您好", "time": 1767916800, "worker": "kf1@x"}
    )
    shows(read, sender_role=role, kind=kind, agent_id="kf1@x", openid="o1", source_message_id=None)


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (xml(PUSH | {"FromUserName": None}), "field.missing"),
        (xml(PUSH | {"MsgId": None}), "field.missing"),  # only events may lack it
        (xml(PUSH | {"CreateTime": 0}), "time.out_of_range"),
        (xml(PUSH).replace(b"</xml>", b""), "payload.not_xml"),
        (b"<!DOCTYPE xml>" + xml(PUSH), "payload.not_xml"),
        (xml(PUSH | {"Content": "在吗"}).decode().encode("gbk"), "payload.bad_encoding"),
        (b"hello", "payload.not_xml"),
        (b"", "payload.not_xml"),
        ({"openid": "o1", "opercode": 7, "time": 1767916800}, "field.unknown_value"),
        ({"openid": "o1", "opercode": "2002", "time": 1767916800}, "field.wrong_type"),
    ],
)
def test_reject(parse, payload, rule):
    assert parse("wechat", payload).rule == rule


def test_a_declared_encoding_is_not_believed(parse):
    # Expat would ask Python for the codec; the platform sends UTF-8 whatever a forger declares.
    assert parse("wechat", b'<?xml version="1.0" encoding="utf-7"?>' + xml(PUSH)).openid == "o1"
