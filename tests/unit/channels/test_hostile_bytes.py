"""No bytes make a parser raise or stall: what can't be read comes back as a reject."""

import json
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.channels import PARSERS
from pipelines.channels.interaction import Interaction, Reject

RECEIVED_AT_US = 1768089600_000_000
CHANNELS = sorted(PARSERS)

# Names the parsers look for, so that random JSON gets past the first missing field.
# fmt: off
NAMES = [
    "message_id", "sender", "sent_at", "text", "event", "revision", "media", "extra", "score", "asked_at",
    "event_id", "ts", "user", "content", "rating", "service", "device", "images", "ticket_id", "state",
    "occurred_at", "opened_at", "actor", "case_no", "created_at", "replies", "complainant", "demands", "evidence",
    "amount", "FromUserName", "CreateTime", "MsgType", "MsgId", "Content", "Event", "PicUrl", "MediaId", "openid",
    "opercode", "time", "worker", "msgid", "origin", "msgtype", "send_time", "external_userid", "open_kfid",
    "msgtime", "from", "tolist", "action", "call_id", "direction", "started_at", "transcript", "recording",
    "talk_s", "comment_id", "user_id", "type", "post_id", "author", "edited_at", "msg_id", "phone", "survey_id",
    "score_scale_max", "visited_at",
    "到店时间", "咨询内容", "满意度", "等待时长(分钟)", "受理时间", "开始时间", "accepted_at",
    "record_type",
]
# fmt: on
WORDS = [
    "visitor",
    "agent",
    "message",
    "text",
    "event",
    "image",
    "inbound",
    "report",
    "uplink",
    "post",
    "2026-01-09",
    "5",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1767916800, 1767916800123, *WORDS])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=14)


def read(channel, payload, account="help@example.com"):
    found = PARSERS[channel](payload, account, RECEIVED_AT_US, "file:1")
    assert isinstance(found, Interaction | Reject)
    return found


def assert_columns_hold(found):
    """What goes on is of the declared types: text without surrogates, integers of 64 bits, JSON that is JSON."""
    if isinstance(found, Reject):
        return
    for value in found:
        if isinstance(value, str):
            value.encode("utf-8")
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63
        else:
            assert value is None or isinstance(value, float)
    for column in (found.media, found.attributes):
        assert column is None or orjson.loads(column)


@pytest.mark.parametrize("channel", CHANNELS)
@settings(max_examples=150, deadline=None)
@given(payload=st.binary(max_size=300))
def test_random_bytes(channel, payload):
    assert_columns_hold(read(channel, payload))


@pytest.mark.parametrize("channel", CHANNELS)
@settings(max_examples=150, deadline=None)
@given(fields=OBJECTS)
def test_random_json_under_the_names_parsers_look_for(channel, fields):
    assert_columns_hold(read(channel, json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("channel", ["wechat", "wecom", "mini_program"])
@settings(max_examples=200, deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from(NAMES), st.sampled_from([*WORDS, "1767916800", "", "<a/>", "&lt;"]), max_size=9
    )
)
def test_random_xml(channel, fields):
    body = "".join(f"<{n}>{v}</{n}>" for n, v in fields.items() if n.isascii() and "(" not in n)
    assert_columns_hold(read(channel, f"<xml>{body}</xml>".encode()))


MAIL_LINES = st.sampled_from(
    [
        b"From: a@example.org",
        b"From: =?gbk?B?////?= <a@example.org>",
        b"From: \xc4\xe3 <a@example.org>",
        b"Date: Fri, 09 Jan 2026 08:00:00 +0800",
        b"Date: Fri, 99 Jan 2026 08:00:00 +9999",
        b"Subject: =?nope?Q?=E4?=",
        b"Subject: =?utf-8?B?A?=",
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: multipart/alternative; boundary*0=b; boundary*=utf-8''b",
        b"Content-Type: text/plain; charset=utf-7",
        b"Content-Type: text/html; charset*=gbk'zh'%ff",
        b"Content-Type: message/rfc822",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: x-uuencode",
        b"Content-Transfer-Encoding: quoted-printable",
        b"References: <>",
        b"Message-ID: <\xff>",
        b"begin 644 x",
        b"--b",
        b"--b--",
        b"",
        b" folded",
        b"+2AA-",
        b"<p>&#xD800;<script>",
        b"\xff\xfe\x00",
    ]
)


@settings(max_examples=600, deadline=None)
@given(lines=st.lists(MAIL_LINES, max_size=25))
def test_random_mail(lines):
    assert_columns_hold(read("email", b"\r\n".join(lines)))


MEGABYTES = 5_000_000
HEAD = b"From: a@example.org\nDate: Fri, 09 Jan 2026 08:00:00 +0800\n"
HOSTILE = {
    "nested 10,000 deep": b'{"message_id":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nested 200,000 deep, unclosed": b'{"a":' * 200_000,
    "XML nested 10,000 deep": b"<a>" * 10_000 + b"</a>" * 10_000,
    "5 MB of one letter": b"a" * MEGABYTES,
    "5 MB text": b'{"message_id":"m","sender":"visitor","sent_at":1767916800,"text":"' + b"a" * MEGABYTES + b'"}',
    "5 MB of NUL": bytes(MEGABYTES),
    "5 MB of blanks": b" " * MEGABYTES,
    "5 MB of byte order marks": b"\xef\xbb\xbf" * (MEGABYTES // 3),
    "UTF-16": '{"message_id":"m"}'.encode("utf-16"),
    "NaN": b'{"score":NaN,"message_id":"m","sender":"visitor","sent_at":1767916800}',
    "number beyond double": b'{"score":1e999,"message_id":"m","sender":"visitor","sent_at":1767916800}',
    "lone surrogate": b'{"text":"\\ud800","message_id":"m","sender":"visitor","sent_at":1767916800}',
    "billion laughs": b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10 if i else b"&a;" * 10) for i in range(10))
    + b"]><xml><Content>&a9;</Content></xml>",
    "external entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><xml><Content>&e;</Content></xml>',
    "mail, 300 boundaries, a million lines": HEAD
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(300))
    + b"\n" * 1_000_000,
    "mail, 5 MB of parameters": HEAD + b"Content-Type: multipart/mixed" + b";" * MEGABYTES + b"\n\nx",
    "mail, parameters behind carriage returns": HEAD.replace(b"\n", b"\r")
    + b"Content-Type: text/plain"
    + b";" * 999_999,
    "mail, 5 MB of encoded-word openings": HEAD + b"Subject: " + b"=?a?q?" * 800_000 + b"\n\nx",
    "mail, punycode body": HEAD + b"Content-Type: text/plain; charset=punycode\n\n" + b"a" * 1_000_000,
    "mail, script openings": HEAD + b"Content-Type: text/html; charset=utf-8\n\n" + b"<script" * 600_000,
    "mail, 50,000 parts": HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 50_000,
    "mail, messages in messages": HEAD + b"Content-Type: message/rfc822\n\n" * 5_000,
    "SMPP receipt that never ends": b"id:1 sub:001 dlvrd:001 submit date:2601090800 done date:2601090801 stat:X err:0"
    + b" " * MEGABYTES,
    "a million digits as a time": b'{"message_id":"m","sender":"visitor","sent_at":"' + b"9" * 1_000_000 + b'"}',
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("channel", CHANNELS)
def test_hostile_payload_neither_raises_nor_stalls(channel, what):
    began = time.monotonic()
    assert_columns_hold(read(channel, HOSTILE[what]))
    # Ten seconds is what a shared, busy machine may need for honest work on 5 MB; a quadratic reader takes hours.
    assert time.monotonic() - began < 10
