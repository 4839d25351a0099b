"""WeCom: sync_msg items, archived turns, decrypted callbacks."""

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai


ITEM = {"msgid": "k1", "open_kfid": "wk1", "external_userid": "wm1", "send_time": 1767916800, "msgtype": "text"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"origin": 3, "text": {"content": "有货吗"}},
            {"sender_role": "customer", "text": "有货吗", "external_userid": "wm1"},
        ),
        (
            {"origin": 5, "servicer_userid": "st1", "text": {"content": "有"}},
            {"sender_role": "agent", "agent_id": "st1"},
        ),
        (
            {"origin": 3, "msgtype": "image", "image": {"media_id": "i1"}},
            {"text": None, "media": '[{"uri":"media_id:i1","type":"image","size":null,"sha256":null}]'},
        ),
        (
            {"origin": 3, "text": {"content": "1", "menu_id": "m7"}},
            {"attributes": '{"open_kfid":"wk1","menu_id":"m7"}'},
        ),
        (  # events carry their customer inside
            {"origin": 4, "msgtype": "event", "event": {"event_type": "enter_session", "external_userid": "wm2"}},
            {"kind": "record", "outcome": "enter_session", "external_userid": "wm2", "sender_role": "system"},
        ),
        (
            {"origin": 4, "msgtype": "event", "event": {"event_type": "user_recall_msg", "recall_msgid": "k0"}},
            {"kind": "record", "outcome": "revoked", "attributes": '{"recalled_msgid":"k0"}', "source_revision": 1},
        ),
    ],
)
def test_sync_msg_item(parse, shows, change, expected):
    shows(parse("wecom", ITEM | change), source_message_id="k1", occurred_at_us=EIGHT_US, **expected)


@pytest.mark.parametrize(
    ("sender", "others", "role", "customer", "agent"),
    [
        ("wm1", ["st1"], "customer", "wm1", None),
        ("st1", ["wm1"], "agent", "wm1", "st1"),
        ("st1", ["st2"], "agent", None, "st1"),  # two employees: nobody's customer
    ],
)
def test_archived_turn(parse, shows, sender, others, role, customer, agent):
    turn = {
        "msgid": "a1",
        "action": "send",
        "from": sender,
        "tolist": others,
        "msgtime": 1767916800123,
        "msgtype": "text",
    }
    read = parse("wecom", turn | {"text": {"content": "好的"}})
    shows(read, sender_role=role, external_userid=customer, agent_id=agent, text="好的", kind="message")


def test_callback_is_a_record_with_an_id_of_its_own(parse, shows):
    callback = (
        b"<xml><ToUserName>ww1</ToUserName><CreateTime>1767916800</CreateTime><MsgType>event</MsgType>"
        b"<Event>kf_msg_or_event</Event><Token>ENC1</Token><OpenKfId>wk1</OpenKfId></xml>"
    )
    read = parse("wecom", callback)
    shows(read, kind="record", outcome="kf_msg_or_event", sender_role="system")
    other = parse("wecom", callback.replace(b"ENC1", b"ENC2"))  # two notices within a second differ by their token
    assert read.source_message_id != other.source_message_id


def test_callback_of_a_new_contact(parse, shows):
    read = parse(
        "wecom",
        b"<xml><CreateTime>1767916800</CreateTime><MsgType>event</MsgType><Event>change_external_contact</Event>"
        b"<ChangeType>add_external_contact</ChangeType><UserID>st1</UserID><ExternalUserID>wm1</ExternalUserID></xml>",
    )
    shows(read, outcome="add_external_contact", external_userid="wm1", agent_id="st1", kind="record")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, "field.missing"),  # no origin: who spoke?
        ({"origin": "3"}, "field.wrong_type"),
        ({"origin": 8}, "field.unknown_value"),
        ({"origin": 3, "text": "有货吗"}, "field.wrong_type"),
        ({"origin": 3, "external_userid": ""}, "field.missing"),
        ({"origin": 4, "msgtype": "event", "event": {}}, "field.missing"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("wecom", ITEM | change).rule == rule


@pytest.mark.parametrize(
    ("answer", "unionid", "at_us"),
    [
        # externalcontact/get: the contact stands inside
        ({"errcode": 0, "external_contact": {"external_userid": "wm1", "name": "李雷", "unionid": "oU1"}}, "oU1", None),
        # kf/customer/batchget: one of its customer_list, with the time at which the puller asked
        ({"external_userid": "wm1", "nickname": "李雷", "unionid": "oU1", "fetched_at": 1767916800}, "oU1", EIGHT_US),
        # a contact who has no WeChat account of ours yet
        ({"external_contact": {"external_userid": "wm1", "name": "李雷"}}, None, None),
    ],
)
def test_what_the_platform_says_of_a_contact(parse, shows, answer, unionid, at_us):
    found = parse("wecom", answer)
    shows(found, kind="record", sender_role="customer", external_userid="wm1", unionid=unionid, outcome="contact")
    assert at_us in (None, found.occurred_at_us)
    assert found.source_message_id == parse("wecom", answer | {"errcode": 1}).source_message_id  # a duplicate
    assert "李雷" not in repr(found)
