"""The look-up service as it runs: whose an ID or a number is today, who may see it, and that it was written down."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from infra.stack import mariadb
from infra.stack.settings import AUDIT_DATABASE, AUDITOR, LOOKUP
from jobs.ops.auditing import audit_log
from pipelines import contracts
from pipelines.io import audit_log as log_io
from pipelines.io import identity_rows
from pipelines.io.mariadb import connect
from pipelines.io.served_customers import serve
from pipelines.privacy.audit_chain import verify
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from tests.e2e.lookup_process import LIMIT_S, OPENID, PHONES, Service, world
from tests.e2e.served_gold import Gold


@pytest.fixture(scope="module")
def service(stack, tmp_path_factory):
    engine, folder = connect(stack.database_url, load_data=True), tmp_path_factory.mktemp("lookup")
    with engine.begin() as connection:
        identity_rows.create_tables(connection)
        for table in identity_rows.TABLES:
            connection.exec_driver_sql(f"DELETE FROM {identity_rows.sql_name(table)}")
    tokens = Tokeniser(MasterKey.load(stack))
    world(stack, tokens)
    gold = Gold(folder)
    stranger = "p_" + tokens.token(PHONES[9], "phone")[-32:][:24]
    before_linked = "p_" + tokens.token(PHONES[1], "phone")[-32:][:24]
    gold.publish(
        {"customer_id": "c_01", "contacts": 4, "consent_marketing": True},
        {"customer_id": "c_02"},  # published before the merge
        *({"customer_id": f"c_0{n}"} for n in (3, 4, 5, 6, 8)),
        {"customer_id": stranger, "contacts": 9, "identity_status": "provisional"},
    )
    gold.tag(("c_01", "value_tier", "high"))
    serve(engine, gold.paths, scratch=folder, policy=contracts.policy("lookup")["publish"], anew=True)
    running = Service(stack, folder)
    running.stranger, running.before_linked = stranger, before_linked
    yield running
    running.process.terminate()
    assert running.process.wait(30) == 0, running.log.read_text()


def audited(stack) -> int:
    return sum(1 for _ in audit_log(stack).rows())


def test_an_agent_sees_the_view_of_a_customer(service):
    told = service.ask("c_01")
    assert told.status_code == 200, told.text
    assert told.headers["cache-control"] == "no-store"
    body = told.json()
    assert (body["asked_for"], body["customer_id"]) == ({"customer_id": "c_01"}, "c_01")
    assert body["as_of_at"] == "2026-01-09T00:00:00+00:00"
    view = body["view"]
    assert (view["contacts"], view["consent_marketing"], view["consent_profiling"]) == (4, True, None)
    assert view["tags"] == {"value_tier": "high"}
    assert "content_hash" not in view


@pytest.mark.parametrize(
    ("asked", "customer"),
    [
        ({"phone": "+86 138-1234-5671"}, "c_01"),  # as the stream reads it
        ({"openid": OPENID}, "c_01"),  # of a message whose unionid the CRM has
        ({"phone": PHONES[2]}, "c_01"),  # of the one who was merged
        ({"customer_id": "c_02"}, "c_01"),
        ({"phone": PHONES[5]}, "c_06"),  # today's holder, not the one of half a year ago
        ({"phone": PHONES[9]}, "{stranger}"),  # nobody linked it yet: the provisional customer
        ({"customer_id": "{before_linked}"}, "c_01"),  # the provisional name of a number that has a holder by now
    ],
)
def test_every_way_of_asking_leads_to_todays_customer(service, asked, customer):
    names = {"stranger": service.stranger, "before_linked": service.before_linked}
    [(kind, value)] = ((kind, value.format(**names)) for kind, value in asked.items())
    told = service.search({kind: value})
    assert told.status_code == 200, told.text
    assert told.json()["customer_id"] == told.json()["view"]["customer_id"] == customer.format(**names)
    path = value if kind == "customer_id" else f"{kind}:{value}"
    assert service.ask(path).json() == told.json()
    if kind == "phone":
        assert told.json()["asked_for"]["phone"] == "138****567" + value[-1]


def test_a_customer_no_build_has_seen_has_no_view_yet(service):
    told = service.search({"phone": PHONES[7]}).json()
    assert (told["customer_id"], told["view"]) == ("c_07", None)
    assert service.ask("c_07").json()["customer_id"] == "c_07"


@pytest.mark.parametrize(
    ("asked", "status", "error"),
    [
        ({"phone": PHONES[3]}, 409, "identifier.shared"),
        ({"phone": PHONES[8]}, 404, "customer.unknown"),  # the last holder gave it up
        ({"phone": PHONES[0]}, 404, "customer.unknown"),
        ({"customer_id": "c_99"}, 404, "customer.unknown"),
        ({"customer_id": "p_" + "0" * 24}, 404, "customer.unknown"),
        ({"phone": "13800000000"}, 400, "identifier.says_nothing"),
        ({"phone": PHONES[1], "openid": OPENID}, 400, "question.malformed"),
    ],
)
def test_what_leads_to_nobody_is_said_in_plain_words(service, asked, status, error):
    told = service.search(asked)
    assert (told.status_code, told.json()["error"]) == (status, error)
    assert not any(value in told.text for value in asked.values())


def test_without_a_key_nothing_and_without_the_role_nothing(stack, service):
    before = audited(stack)
    assert service.http.get("/customers/c_01").status_code == 401
    told = service.http.get("/customers/c_01", headers={"authorization": "Bearer li.na.guessed"})
    assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")
    assert audited(stack) == before
    refused = service.ask("c_01", who="wang")
    assert (refused.status_code, refused.json()["error"]) == (403, "role.not_allowed")
    newest = audit_log(stack).newest(1)[0]
    assert (newest.actor, newest.act, newest.act_subject) == ("wang", "refused", "c_01")


def test_a_file_of_keys_that_others_may_read_lets_nobody_in(stack, service):
    stack.agent_keys_file.chmod(0o644)
    try:
        told = service.ask("c_01")
    finally:
        stack.agent_keys_file.chmod(0o600)
    assert (told.status_code, told.json()["error"]) == (503, "keys.unusable")
    assert service.ask("c_01").status_code == 200


def test_the_privacy_officer_reads_the_token(service):
    told = service.search({"phone": PHONES[1]}, who="officer").json()
    assert told["asked_for"]["phone"].startswith("ph1_")


def test_each_answer_was_written_down_and_no_log_holds_a_number(stack, service):
    before = audited(stack)
    asked = [service.search({"phone": PHONES[1]}), service.ask(f"phone:{PHONES[2]}"), service.ask("c_99")]
    assert [told.status_code for told in asked] == [200, 200, 404]
    rows = list(audit_log(stack).rows(after=before))
    assert [(row.actor, row.actor_role, row.act) for row in rows] == [("li.na", "agent", "consult")] * 3
    assert rows[2].act_subject == "c_99"
    written = "".join(str(row) for row in audit_log(stack).rows()) + service.log.read_text()
    assert not any(number in written for number in (*PHONES.values(), OPENID))
    assert not any(key in written for key in service.keys.values())
    deadline = time.monotonic() + LIMIT_S
    while len(log_io.witness(stack.bootstrap)) < before + 3:  # a second later they are in the second place
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert verify(audit_log(stack).rows(), log_io.witness(stack.bootstrap), MasterKey.load(stack)) == []


def test_what_cannot_be_written_down_is_not_shown(stack, service):
    root = connect(mariadb.root_url(stack, AUDIT_DATABASE))
    right = f"INSERT ON {AUDIT_DATABASE}.audit_log"
    with root.begin() as connection:
        connection.exec_driver_sql(f"REVOKE {right} FROM '{AUDITOR}'@'127.0.0.1'")
    try:
        told = service.ask("c_01")
    finally:
        with root.begin() as connection:
            connection.exec_driver_sql(f"GRANT {right} TO '{AUDITOR}'@'127.0.0.1'")
    assert (told.status_code, told.json()["error"]) == (503, "audit.unavailable")
    assert "view" not in told.json()
    assert service.ask("c_01").status_code == 200


def test_when_the_server_dropped_its_connections_one_batch_is_refused_at_most(stack, service):
    root = connect(mariadb.root_url(stack))
    with root.connect() as connection:
        query = text("SELECT id FROM information_schema.processlist WHERE user IN (:a, :b)")
        for number in connection.execute(query, {"a": LOOKUP, "b": AUDITOR}).scalars().all():
            connection.exec_driver_sql(f"KILL {number:d}")
    first, second = service.ask("c_01"), service.ask("c_01")
    assert first.status_code in (200, 503)
    assert second.status_code == 200, second.text


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM identity_claims",
        "SELECT * FROM stream_offsets",
        "DELETE FROM customer_360",
        "UPDATE identity_members SET customer_id = 'c_1'",
    ],
)
def test_the_services_user_may_read_what_it_needs_and_nothing_else(stack, service, statement):
    with connect(stack.database_lookup_url).connect() as connection, pytest.raises(DBAPIError) as refused:
        connection.execute(text(statement))
    assert refused.value.orig.args[0] == 1142


def test_counters_are_for_this_machine(service):
    assert 'kefulake_lookup_answers_total{error="",status="200"}' in service.http.get("/metrics").text
    assert service.http.get("/metrics", headers={"x-forwarded-for": "10.0.0.1"}).status_code == 404
