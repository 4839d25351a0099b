"""A planted defect for every check of every table of the lake: contract checks by kind, business checks by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pipelines.quality.checks import Check, checks_of
from tests.unit.quality.lake import AT, DAY, SOUND, token

_CLOCKS = {
    "not_received_before_it_happened": {
        "occurred_at": AT + timedelta(days=1, seconds=1)
    },  # policy: a day ahead at most
    "not_judged_before_it_came": {"processed_at": AT - timedelta(seconds=6)},  # policy: 5 s
    "filed_under_its_day": {"received_at": AT - timedelta(days=1)},
}
_SAID = _CLOCKS | {
    # 75 s before the question, and counted as if they had been waited
    "impossible_times_do_not_count": {"response_time_s": -75.0, "response_time_corrected_s": -75.0,
                                      "response_time_verdict": "impossible"},
    "handle_times_possible": {"handle_time_s": -1.0},
    "score_stays_on_its_scale": {"score_corrected": 6.0},
    "verdict_beside_every_score": {"score_verdict": None},
    "verdict_beside_every_response_time": {"response_time_verdict": None},
    "no_personal_value": {"text": "请回电 138 1234 5678"},  # as people write it, in groups
    "session_names_nobody": {"session_id": "call-13812345678"},
    "identifiers_are_tokens": {"member_token": "M10086"},  # the member number as it came
    "anonymous_is_nobody": {"customer_id": None},
    "customer_is_known": {"customer_id": "c_unknown"},
    "revision_is_counted": {"source_revision": -1},
}  # fmt: skip

BUSINESS: dict[str, dict[str, dict[str, Any]]] = {
    "bronze.raw_events": {
        "keeps_its_bytes": {"payload_ciphertext": None},
        "filed_under_its_day": _CLOCKS["filed_under_its_day"],
    },
    "gold.customer_360": {
        "channels_add_up": {"contacts_phone": 5},
        "first_before_last": {"first_contact_at": AT + timedelta(days=2)},
        "scores_within_scale": {"csat_sum_bp": 10001},
        "preferred_channel_is_used": {"preferred_channel": None},
        "id_is_coded": {"customer_id": "13812345670"},
        "anonymous_stay_out": {"identity_status": "anonymous"},
        "contacts_a_person_can_have": {"contacts": 1000, "contacts_phone": 999},
        "money_and_orders_agree": {"monetary_minor": 5},
        "tier_says_why": {"value_tier": "high"},
        "consent_has_its_time": {"consent_marketing": True},
    },
    "gold.customer_tags": {
        "every_tag_says_why": {"rule": " "},
        "a_tag_stays_in_its_group": {"tag_group": "base"},
        "values_of_closed_tags": {"tag_value": "platinum"},
        "no_personal_number": {"tag": "region", "tag_group": "base", "tag_value": "上海 13812345678"},
    },
    "gold.data_balance": {
        "closed_hours_balance": {"kept": 6},
        "nothing_missing_or_unknown": {"missing": 1, "unknown": 1},  # the sums are even: one lost, one from nowhere
        "nothing_twice": {"twice": 1, "closed": False},
        "whole_hours": {"hour_at": AT + timedelta(minutes=30)},
    },
    "gold.hot_questions": {
        "askers_within_questions": {"askers": 4},
        "outliers_within_period": {"period_outliers": 2},
        "no_personal_number": {"question": "我的邮箱是 li.lei@example.com"},
        "some_of_it_is_listed": {"period_questions": 40, "period_outliers": 37},
    },
    "gold.quality_acceptances": {"a_reason_is_given": {"reason": "ok"}},
    "gold.quality_metrics": {"an_anomaly_was_expected_otherwise": {"anomaly": True, "expected_value": None}},
    "gold.quality_results": {
        "a_failure_is_counted": {"passed": False, "published": False},
        "a_stop_is_not_published": {"passed": False, "bad_rows": 1},
    },
    "gold.restatements": {
        "something_changed": {"new_value": "1"},
        "restated_after_it_was_counted": {"restated_at": AT - timedelta(days=1)},
        "reason_is_known": {"restatement_reason": "because"},
    },
    "quarantine.duplicates": {
        "names_the_first": {"duplicate_of_offset": None},
        "is_not_its_own_duplicate": {"raw_offset": 7, "duplicate_of_offset": 7},
    },
    "quarantine.rejects": {
        "keeps_its_bytes": {"payload_encrypted": None},
        "reason_names_nobody": {"reason": "phone 13812345678 is no number"},
    },
    "review.queue": {
        "keeps_its_bytes": {"payload_encrypted": None},
        "no_personal_value": {"subject": "li.lei@example.com 投诉"},
    },
    "silver.customers": _CLOCKS | {
        "no_personal_value": {"member_level": "金卡 13812345678"},
        "identifiers_are_tokens": {"phone_token": "13812345678"},
        "record_is_coded": {"record_key": "C10086"},
        "registered_before_it_changed": {"registered_at": AT + timedelta(seconds=6)},
        "verified_phone_is_there": {"phone_token": None},
        "consent_has_its_time": {"consent_profiling": False},
        "born_in_a_possible_year": {"birth_year": 2027},  # after the record came
    },
    "silver.feedback": _SAID | {
        "says_or_scores_something": {"text": " ", "score": None, "score_verdict": None, "score_corrected": None},
    },
    "silver.identity_events": {
        "two_customers": {"other_customer_id": "c_1"},
        "split_names_its_records": {"record_keys": "[]"},
        "no_personal_value": {"customer_id": "13812345678"},
    },
    "silver.identity_links": {
        "token_is_a_token": {"token": "13812345678"},
        "holds_for_some_time": {"valid_to_at": AT},
        "id_is_coded": {"customer_id": "13812345678"},
        "says_why": {"link_rule": None},
    },
    "silver.interactions": _SAID,
    "silver.orders": _CLOCKS | {
        "refunded_within_amount": {"refunded_minor": 501},
        "paid_says_when": {"paid_at": None},
        "revised_in_order": {"ordered_at": AT + timedelta(seconds=6)},
        "currency_has_three_letters": {"currency": "元"},
        "no_personal_value": {"order_lines": '[{"sku":"寄给13812345678"}]'},
        "identifiers_are_tokens": {"member_token": "M10086"},
        "customer_is_known": {"customer_id": "c_unknown"},
    },
    "silver.ticket_events": _SAID | {"belongs_to_a_ticket": {"ticket_id": None}},
}  # fmt: skip


def defect_of(table: str, check: Check) -> dict[str, Any] | None:
    """What to change in a sound row so that it breaks the check; None where no row can (the table has too few)."""
    if check.name in BUSINESS.get(table, {}):
        return BUSINESS[table][check.name]
    if check.kind == "not_null":
        return {check.columns[0]: None}
    if check.kind == "in_set":
        return {check.columns[0]: "no such word"}
    if check.kind == "unique":
        return {column: identified(table, 0)[column] for column in check.columns}
    if check.kind == "between":
        beyond = check.max + 1 if check.max is not None else check.min - 1
        return {check.columns[0]: beyond}
    return None


def identified(table: str, nth: int) -> dict[str, Any]:
    """A sound row under a key of its own; row 0 is what others are a double of."""
    row = dict(SOUND[table])
    numbered = {
        "raw_offset": nth, "event_id": f"e{nth}", "audit_seq": nth, "run_id": f"r{nth}", "erasure_id": f"e{nth}",
        "identity_event_id": f"i{nth}", "first_offset": nth, "question_id": f"q{nth}", "question_rank": nth + 1,
        "restated_run_id": f"r{nth}", "hour_at": AT + timedelta(hours=nth), "metric_date": DAY + timedelta(days=nth),
        "delivery_id": f"d{nth}", "table_version": nth,
    }  # fmt: skip
    row |= {name: value for name, value in numbered.items() if name in row}
    if table in {"silver.identity_links", "identity.vault"}:
        row["token"] = token("ph", nth)
    if table in {"gold.customer_360", "gold.customer_tags"}:
        row["customer_id"] = f"c_{nth}"
    return row


def planted(table: str) -> list[tuple[Check, dict[str, Any]]]:
    """For each check that a row can break, that row."""
    found = []
    for check in checks_of(table):
        change = defect_of(table, check)
        if change is not None:
            found.append((check, identified(table, len(found) + 1) | change))
    return found
