"""One policy says which role sees what; what it does not say is not seen."""

from __future__ import annotations

import copy

import polars as pl
import pytest

from pipelines import contracts
from pipelines.privacy.roles import (
    NotAllowed,
    UnknownRole,
    check_open_bytes,
    check_unmask,
    kind_of_column,
    sees,
    treatment,
    visible,
)
from pipelines.privacy.tokens import PREFIXES

POLICY, FIELDS = contracts.policy("roles"), contracts.fields()
PHONE = "ph1_3ef2d64739048e73c7dbaf08a6438093"
WHY = "customer asked to be called back"


@pytest.mark.parametrize(
    ("role", "column", "seen"),
    [
        ("agent", "phone_token", "masked"),  # enough to recognise the caller
        ("agent", "text", "clear"),  # an agent answers what was written
        ("agent", "attributes", "hidden"),  # what only a channel knows is not needed to answer
        ("agent", "payload_encrypted", "hidden"),
        ("analyst", "phone_token", "token"),  # joins by it, cannot call it
        ("analyst", "text", "hidden"),  # free text names people; figures do not need it
        ("analyst", "score_corrected", "clear"),  # a number, named in no kind
        ("analyst", "channel", "clear"),  # a closed set of words
        ("data_engineer", "wrapped_key", "token"),  # as stored: opened by nobody on the way
        ("data_engineer", "text", "hidden"),
        ("privacy_officer", "row_hash", "clear"),
        ("team_lead", "row_hash", "hidden"),  # who watches the watchers is not the watched
        ("team_lead", "nickname_of_tomorrow", "hidden"),  # a column nobody has thought of yet
    ],
)
def test_who_sees_which_column_how(role, column, seen):
    assert sees(role, [column], policy=POLICY, declared=FIELDS) == {column: seen}


@pytest.mark.parametrize(
    "ask",
    [
        lambda: treatment("root", "fact", POLICY),
        lambda: check_unmask("", PHONE, WHY, policy=POLICY),
        lambda: check_open_bytes("Agent", WHY, policy=POLICY),
    ],
)
def test_an_unknown_role_is_an_error_not_a_guest(ask):
    with pytest.raises(UnknownRole, match="there are: agent"):
        ask()


def test_a_kind_a_role_has_no_entry_for_is_hidden():
    policy = copy.deepcopy(POLICY)
    del policy["roles"]["agent"]["text"]
    assert treatment("agent", "text", policy) == "hidden"


def test_a_misspelt_treatment_stops_instead_of_showing():
    policy = copy.deepcopy(POLICY)
    policy["roles"]["agent"]["text"] = "claer"
    with pytest.raises(ValueError, match="'claer'"):
        treatment("agent", "text", policy)


def test_hidden_columns_are_gone_and_an_erased_token_stays_a_token():
    frame = pl.DataFrame({"phone_token": [PHONE, "ph1_" + "0" * 32, None], "attributes": ["{}"] * 3})
    shown = visible(frame, "agent", policy=POLICY, declared=FIELDS, values={PHONE: "+8613812345670"})
    assert shown.to_dict(as_series=False) == {"phone_token": ["138****5670", "ph1_" + "0" * 32, None]}


def test_masked_attachments_have_their_numbers_masked():
    frame = pl.DataFrame({"attributes": ['{"callback":"13812345670"}', None]})
    shown = visible(frame, "data_engineer", policy=POLICY, declared=FIELDS)
    assert shown["attributes"].to_list() == ['{"callback":"138****5670"}', None]


@pytest.mark.parametrize(
    ("role", "token", "reason", "says"),
    [
        ("analyst", PHONE, WHY, "analyst may not open a phone; agent, team_lead, privacy_officer may"),
        ("data_engineer", PHONE, WHY, "may not open"),  # repairs pipelines, calls nobody
        ("agent", "bc1_0", WHY, "agent may not open a bank_card; privacy_officer may"),
        ("agent", PHONE, "  because  ", "at least 10 characters"),  # blanks are no reason
    ],
)
def test_who_may_not_open_a_value(role, token, reason, says):
    with pytest.raises(NotAllowed, match=says):
        check_unmask(role, token, reason, policy=POLICY)


def test_kept_bytes_are_for_who_repairs():
    check_open_bytes("data_engineer", "broken feed of yesterday", policy=POLICY)
    with pytest.raises(NotAllowed, match="analyst may not see kept bytes"):
        check_open_bytes("analyst", "broken feed of yesterday", policy=POLICY)


def test_the_policy_names_only_what_there_is():
    assert set(POLICY["unmask"]["roles"]) <= set(POLICY["roles"])
    assert set(POLICY["open_bytes"]) <= set(POLICY["roles"])
    assert {kind for kinds in POLICY["unmask"]["roles"].values() for kind in kinds} <= set(PREFIXES)
    assert {kind for seen in POLICY["roles"].values() for kind in seen} <= set(POLICY["kinds"])
    named = [column for columns in POLICY["kinds"].values() for column in columns]
    assert len(named) == len(set(named))
    assert set(named) <= set(FIELDS)


def test_every_token_column_is_an_identifier():
    tokens = [name for name in FIELDS if name == "token" or name.endswith("_token")]
    assert {kind_of_column(name, FIELDS[name], POLICY) for name in tokens} == {"identifier"}
