"""CRM records: what is an identifier, what only travels as a token, what is unknown and what is unclassified."""

import json

import pytest

EIGHT_US = 1767916800_000_000  # 2026-01-09 08:00:00 in Shanghai
RECORD = {"customer_no": "C1", "updated_at": "2026-01-09 08:00"}


@pytest.fixture
def read(parse):
    """The envelope's columns and personal values of one record."""

    def envelope(**change):
        found = json.loads(parse("crm", RECORD | change).attributes)
        return found["columns"], found["personal"]

    return envelope


def test_a_record_is_nobodys_contact(parse, shows):
    shows(parse("crm", RECORD), kind="record", sender_role="system", occurred_at_us=EIGHT_US, text=None)


@pytest.mark.parametrize(
    ("verified", "identifier", "column"),
    [
        (True, "13800000001", True),  # the company has shown whose number it is: finds the customer
        ("是", "13800000001", True),
        (False, None, False),  # typed by somebody: kept as a token, finds nobody
        (None, None, False),  # not stated is not verified
    ],
)
def test_only_a_verified_phone_is_an_identifier(parse, read, verified, identifier, column):
    assert parse("crm", RECORD | {"phone": "13800000001", "phone_verified": verified}).phone == identifier
    columns, personal = read(phone="13800000001", phone_verified=verified)
    assert columns["phone_verified"] is column
    assert ("phone_token" in personal) is (identifier is None)


@pytest.mark.parametrize(
    ("written", "gender"), [("女", "female"), ("M", "male"), ("其他", "other"), ("保密", "unclassified"), ("", None)]
)
def test_gender_other_unclassified_and_unknown_are_three_things(read, written, gender):
    assert read(gender=written)[0].get("gender") == gender


@pytest.mark.parametrize(
    ("change", "year", "personal"),
    [
        ({"birth_date": "1990-05-01"}, 1990, ["birth_date", "1990-05-01"]),
        ({"birth_date": "1990年5月1日"}, 1990, ["birth_date", "1990-05-01"]),  # one date, one token
        ({"birth_year": 1975}, 1975, None),
        ({"birth_year": 0}, 0, None),  # stays as stated; the age tag calls it unclassified
        ({}, None, None),
    ],
)
def test_birth(read, change, year, personal):
    columns, found = read(**change)
    assert (columns.get("birth_year"), found.get("birth_date_token")) == (year, personal)


def test_consent_refused_is_not_never_asked(read):
    columns, _ = read(consent={"marketing": {"given": False, "at": "2026-01-09 08:00"}, "profiling": True})
    consents = {name: value for name, value in columns.items() if name.startswith("consent")}
    assert consents == {
        "consent_marketing": False, "consent_marketing_at": EIGHT_US, "consent_profiling": True,
    }  # fmt: skip


def test_two_changes_within_a_second_are_two_records_and_a_retry_is_none(parse):
    first, second = (parse("crm", RECORD | {"updated_at": EIGHT_US + us}) for us in (0, 1))
    assert first.source_message_id != second.source_message_id
    assert first.source_message_id == parse("crm", RECORD | {"updated_at": "2026-01-09 08:00:00"}).source_message_id


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"customer_no": " "}, "field.missing"),
        ({"updated_at": None}, "field.missing"),
        ({"status": "frozen"}, "field.unknown_value"),  # may we still write to this person? no guess
        ({"phone_verified": "perhaps"}, "field.unknown_value"),
        ({"birth_date": "in May"}, "time.unreadable"),
        ({"birth_year": "1990"}, "field.wrong_type"),
        ({"consent": "yes"}, "field.wrong_type"),
        ({"consent": {"marketing": {"given": "maybe"}}}, "field.unknown_value"),
    ],
)
def test_reject(parse, change, rule):
    assert parse("crm", RECORD | change).rule == rule
