"""One sound row of each table of the lake, worked by hand: what a defect is planted into."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

AT = datetime(2026, 1, 5, 2, tzinfo=UTC)
DAY = AT.date()
_COORDINATES = {"raw_topic": "raw.app", "raw_partition": 0, "raw_offset": 1, "received_at": AT, "received_date": DAY}
_CLOCKS = {"occurred_at": AT, "processed_at": AT + timedelta(seconds=2)}


def token(kind: str, number: int) -> str:
    """A well-formed token.

    >>> token("ph", 1)[:8]
    'ph1_0000'
    """
    return f"{kind}1_{number:032x}"


_KEPT = _COORDINATES | _CLOCKS | {
    "event_id": "e1", "attempt": 0, "channel": "app", "account": "shop", "source_revision": 0, "customer_id": "c_1",
    "identity_status": "linked", "phone_token": token("ph", 1), "member_token": token("mb", 2),
}  # fmt: skip
_SAID = _KEPT | {
    "kind": "message", "sender_role": "customer", "text": "怎么退货？", "handle_time_s": 30.0,
    "response_time_s": 5.0, "response_time_corrected_s": 5.0, "response_time_verdict": "normal",
    "score": 4.0, "score_scale_max": 5.0, "score_corrected": 4.0, "score_verdict": "normal",
}  # fmt: skip
_BYTES = {"payload_bytes": 2, "payload_encrypted": "x"}
_BUILT = {"run_id": "gold.customer_360@x", "check_name": "channels_add_up", "table_name": "gold.customer_360"}

SOUND: dict[str, dict[str, Any]] = {
    "audit.log": {"audit_seq": 1, "acted_at": AT, "actor": "li", "act": "consult", "row_hash": "00"},
    "audit.retention": {
        "table_name": "bronze.raw_events", "received_date": DAY, "table_version": 7, "rows_removed": 10,
        "removed_at": AT,
    },
    "bronze.store_files": {
        "delivery_id": "d1", "file_name": "S01.csv", "file_sha256": "00", "file_verdict": "imported", "rows_sent": 3,
        "imported_at": AT,
    },
    "bronze.raw_events": _COORDINATES | {"payload_bytes": 3, "payload_ciphertext": b"\x00"},
    "gold.customer_360": {
        "customer_id": "c_1", "identity_status": "linked", "as_of_at": AT + timedelta(days=9), "contacts": 2,
        "channels": 2, "contacts_phone": 1, "contacts_app": 1, "contacts_mini_program": 0, "contacts_wechat": 0,
        "contacts_wecom": 0, "contacts_web_chat": 0, "contacts_email": 0, "contacts_social": 0,
        "contacts_live_video": 0, "contacts_sms": 0, "contacts_store": 0, "contacts_service_center": 0,
        "contacts_complaint_site": 0, "contacts_in_window": 2, "preferred_channel": "app", "csat_count": 1,
        "csat_sum_bp": 8000, "response_sum_ms": 0, "frequency": 0, "monetary_minor": 0,
        "first_contact_at": AT, "last_contact_at": AT + timedelta(days=1),
    },
    "gold.customer_tags": {
        "customer_id": "c_1", "tag_group": "value", "tag": "value_tier", "tag_value": "high", "rule": "rfm",
        "rule_version": "value-1", "as_of_at": AT,
    },
    "gold.data_balance": {
        "raw_topic": "raw.app", "hour_at": AT, "received": 10, "kept": 7, "rejected": 1, "in_review": 1, "duplicate": 1,
        "missing": 0, "twice": 0, "unknown": 0, "closed": True, "computed_at": AT,
    },
    "gold.hot_questions": {
        "period_type": "day", "period_start_date": DAY, "question_rank": 1, "question_id": "q1",
        "question": "怎么退货？", "askers": 2, "questions": 3, "phrasings": 1, "period_askers": 2,
        "period_questions": 4, "period_outliers": 1,
    },
    "gold.quality_acceptances": _BUILT | {"bad_rows": 1, "actor": "li", "reason": "the shop knows", "accepted_at": AT},
    "gold.quality_metrics": {
        "table_name": "silver.orders", "channel": "orders", "metric_date": DAY, "metric": "rows", "metric_value": 5.0,
        "expected_value": 5.0, "deviation": 0.0, "anomaly": False, "sample_count": 8, "computed_at": AT,
    },
    "gold.quality_results": _BUILT | {
        "severity": "stop", "passed": True, "checked_rows": 2, "bad_rows": 0, "bad_sample": "[]", "published": True,
        "checked_at": AT,
    },
    "gold.restatements": {
        "table_name": "gold.customer_360", "restated_run_id": "r", "row_key": "{}", "column_name": "contacts",
        "old_value": "1", "new_value": "2", "restatement_reason": "identity,late_rows", "as_of_at": AT,
        "restated_at": AT,
    },
    "identity.vault": {"token": token("ph", 1)},
    "privacy.erasure_results": {"erasure_id": "e1", "table_name": "silver.orders", "erased_at": AT, "rows_removed": 1},
    "quarantine.duplicates": _COORDINATES | {
        "rule": "event.seen", "duplicate_of_topic": "raw.app", "duplicate_of_partition": 0, "duplicate_of_offset": 99,
    },
    "quarantine.rejects": _COORDINATES | _BYTES | {"rule": "text.blank", "reason": "blank"},
    "quarantine.replays": {
        "first_topic": "raw.app", "first_partition": 0, "first_offset": 1, "attempt": 1, "replayed_at": AT,
    },
    "review.queue": _COORDINATES | _BYTES | {"rule": "text.unclear", "text": "真行"},
    "silver.customers": _KEPT | {
        "raw_topic": "raw.crm", "channel": "crm", "record_key": "crm/0a", "crm_status": "active", "updated_at": AT,
        "registered_at": AT - timedelta(days=9), "phone_verified": True, "region": "上海", "birth_year": 1990,
        "consent_marketing": True, "consent_marketing_at": AT,
    },
    "silver.feedback": _SAID | {"kind": "feedback"},
    "silver.identity_events": {
        "identity_event_id": "i1", "identity_event_type": "split", "customer_id": "c_1", "other_customer_id": "c_2",
        "record_keys": '["crm/0a"]', "actor": "li", "recorded_at": AT,
    },
    "silver.identity_links": {
        "token": token("ph", 1), "token_type": "phone", "stretch": 0, "customer_id": "c_1", "valid_from_at": AT,
        "valid_to_at": AT + timedelta(days=1), "link_rule": "attested", "rule_version": "identity-1", "recorded_at": AT,
    },
    "silver.interactions": _SAID,
    "silver.orders": _KEPT | {
        "raw_topic": "raw.orders", "channel": "orders", "order_id": "o1", "order_status": "paid", "ordered_at": AT,
        "paid_at": AT, "updated_at": AT, "currency": "CNY", "amount_minor": 500, "refunded_minor": 0,
    },
    "silver.ticket_events": _SAID | {
        "raw_topic": "raw.ticket_system", "channel": "ticket_system", "kind": "ticket_event", "ticket_id": "t1",
    },
}  # fmt: skip


def another_day() -> date:
    """A day on which nothing is wrong."""
    return DAY + timedelta(days=1)
