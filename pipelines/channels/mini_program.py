"""WeChat mini program: customer-service messages pushed as JSON, with the fields of the official account's XML."""

from __future__ import annotations

from pipelines.channels import wechat
from pipelines.channels.interaction import Interaction, Reject
from pipelines.channels.json_payload import parse_json
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
    return parse_json(payload, wechat.read_record_or_push, account, received_at_us, source_ref)
