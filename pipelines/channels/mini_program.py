"""WeChat mini program: customer-service messages pushed as JSON, with the fields of the official account's XML.

And what getPhoneNumber ("手机号快速验证") told the program's server: the number that the platform has verified.
"""

from __future__ import annotations

from pipelines.channels import wechat
from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject
from pipelines.channels.json_payload import ident, missing, nested, parse_json, required_ident
from pipelines.channels.xml_payload import first_byte, parse_xml


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A message to, or an agent's answer from, the mini program's customer service; XML where the account is set so.

    >>> turn = parse(b'{"ToUserName":"gh_2","FromUserName":"o2","CreateTime":1767916800,"MsgType":"text",'
    ...              b'"Content":"hi","MsgId":7}', "gh_2", 1767916801000000)
    >>> turn.source_message_id, turn.openid, turn.text
    ('7', 'o2', 'hi')
    """
    if first_byte(payload) == b"<":
        return parse_xml(payload, wechat.read_push, account, received_at_us, source_ref)
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    if "phone_info" in fields:
        return _phone_told(fields, received_at_us)
    return wechat.read_record_or_push(fields, account, received_at_us, source_ref)


def _phone_told(fields: dict, received_at_us: int) -> Interaction:
    """The answer of getuserphonenumber beside the openid (and unionid) of the log-in that asked for it."""
    openid, told = required_ident(fields, "openid"), nested(fields, "phone_info")
    country = ident(told, "countryCode") or "86"
    number = ident(told, "purePhoneNumber") or ident(told, "phoneNumber")
    if number is None:
        raise missing("phone_info.purePhoneNumber")
    stamp = nested(told, "watermark").get("timestamp")
    at_us = occurred_at_us(stamp, "phone_info.watermark.timestamp", received_at_us)
    return Interaction(
        source_message_id=wechat.event_key(openid, at_us, "phone_info"),
        kind="record",
        sender_role="customer",
        occurred_at_us=at_us,
        outcome="phone_verified",
        phone=number if country == "86" or number.startswith("+") else f"+{country}{number}",
        openid=openid,
        unionid=ident(fields, "unionid"),
    )
