"""CRM: the customer base, one JSON record a customer and change."""

from __future__ import annotations

import re

from pipelines.channels.instants import occurred_at_us
from pipelines.channels.interaction import Interaction, Reject, Unreadable
from pipelines.channels.json_payload import ident, nested, parse_json, required_ident, whole
from pipelines.channels.source_record import carried, mapped, optional_instant, yes_no

_GENDERS = {"男": "male", "m": "male", "male": "male", "1": "male", "女": "female", "f": "female", "female": "female"}
_GENDERS |= {"2": "female", "其他": "other", "other": "other"}
_STATUSES = {"active": "active", "正常": "active", "closed": "closed", "已注销": "closed", "deleted": "deleted"}
_STATUSES |= {"已删除": "deleted"}
CONSENTS = ("marketing", "profiling", "recorded_calls")
_DATE = re.compile(r"(\d{4})[-/.年]?(\d{1,2})[-/.月]?(\d{1,2})日?", re.ASCII)


def parse(payload: bytes, account: str, received_at_us: int, source_ref: str | None = None) -> Interaction | Reject:
    """A CRM record: customer_no and updated_at are required; the same number later is a newer revision.

    A phone that the CRM has not verified finds no customer: it is kept as a token, not as an identifier.

    >>> record = parse(b'{"customer_no":"C1","name":"W","phone":"13800000001","updated_at":"2026-01-09 08:00"}',
    ...                "crm", 1767916801000000)
    >>> record.kind, record.phone, record.source_message_id
    ('record', None, 'C1@1767916800000000')
    >>> record.attributes.partition('"personal":')[2]
    '{"record_key":["crm","C1"],"name_token":["person_name","W"],"phone_token":["phone","13800000001"]}}'
    """
    return parse_json(payload, _read, account, received_at_us, source_ref)


def _read(fields: dict, account: str, received_at_us: int, source_ref: str | None) -> Interaction:
    customer_no = required_ident(fields, "customer_no")
    updated_us = occurred_at_us(fields.get("updated_at"), "updated_at", received_at_us)
    phone, verified = ident(fields, "phone"), yes_no(fields, "phone_verified") or False
    birth_date, birth_year = _birth(fields)
    columns = {
        "phone_verified": None if phone is None else verified,
        "phone_verified_at": optional_instant(fields, "phone_verified_at"),
        "region": ident(fields, "region"),
        "birth_year": birth_year,
        "gender": mapped(fields, "gender", _GENDERS, "unclassified"),
        "member_level": ident(fields, "member_level"),
        "crm_status": _status(fields),
        "registered_at": optional_instant(fields, "registered_at"),
        "updated_at": updated_us,
    }
    personal = {
        "record_key": ("crm", customer_no),
        "name_token": ("person_name", ident(fields, "name")),
        "birth_date_token": ("birth_date", birth_date),
        "address_token": ("address", ident(fields, "address")),
        "phone_token": ("phone", None if verified else phone),
    }
    return Interaction(
        # The instant belongs to the ID: two changes within one second are two records.
        source_message_id=f"{customer_no}@{updated_us}",
        source_revision=whole(fields, "revision"),
        kind="record",
        sender_role="system",
        occurred_at_us=updated_us,
        phone=phone if verified else None,
        national_id=ident(fields, "national_id"),
        email=ident(fields, "email"),
        unionid=ident(fields, "unionid"),
        member_number=ident(fields, "member_number"),
        attributes=carried(columns | _consents(fields), personal),
    )


def _status(fields: dict) -> str:
    """Refused where unknown: whether a person may still be written to is no guess."""
    status = mapped(fields, "status", _STATUSES, "")
    if status == "":
        raise Unreadable("field.unknown_value", f"field status is none of {', '.join(_STATUSES)}")
    return status or "active"


def _consents(fields: dict) -> dict[str, bool | int | None]:
    """consent_<what> and consent_<what>_at; a consent nobody asked for stays NULL, which is not a refusal."""
    found: dict[str, bool | int | None] = {}
    stated = nested(fields, "consent")
    for what in CONSENTS:
        value = stated.get(what)
        given = value if type(value) is dict else {"given": value}
        found[f"consent_{what}"] = yes_no(given, "given")
        found[f"consent_{what}_at"] = optional_instant(given, "at")
    return found


def _birth(fields: dict) -> tuple[str | None, int | None]:
    """The date as yyyy-mm-dd and the year; a year of 1800 stays as stated, tags will call it unclassified."""
    written = ident(fields, "birth_date")
    if written is None:
        year = whole(fields, "birth_year", -1)
        return None, None if year < 0 else year
    found = _DATE.fullmatch(written)
    if found is None:
        raise Unreadable("time.unreadable", "field birth_date is not a date")
    year, month, day = (int(part) for part in found.groups())
    return f"{year:04d}-{month:02d}-{day:02d}", year
