"""From a CRM file into the topic and a worker's index, on a real broker: loaded, tailed, unlinked."""

from __future__ import annotations

import time

import polars as pl
import pytest
from sqlalchemy import Engine

from infra.stack.settings import Settings
from jobs.ops.identity import VAULT_TOPIC, load_file
from pipelines import contracts
from pipelines.identity.crm_import import customer_id
from pipelines.identity.index import IdentityIndex
from pipelines.identity.map_records import feed
from pipelines.io.compacted_tail import CompactedTail, TailError
from pipelines.io.identity_store import MAP_TOPIC
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.tokens import Tokeniser
from pipelines.privacy.vault import open_entry

HEADER = "customer_no,name,phone,phone_verified,unionid,member_number\n"


def test_a_crm_file_reaches_a_running_worker_and_leaves_it_again(stack: Settings, engine: Engine, tmp_path):
    key = MasterKey.create(stack.keys_file)
    crm = tmp_path / "crm.csv"
    crm.write_text(HEADER + "e2e-1,a,17700001111,1,union-e2e-1,\ne2e-2,b,17700002222,1,,M-e2e-2\n")
    report, outcome = load_file(stack, crm, now_us=1)
    assert (report.customers, len(outcome.changes.links)) == (2, 4)

    index, tail = IdentityIndex(), CompactedTail(stack.bootstrap, MAP_TOPIC)
    try:
        for batch in tail.load_to_end():
            feed(index, batch)
        tokeniser = Tokeniser(key, placeholders=contracts.policy("identity")["placeholders"])
        phones = tokeniser.tokens(pl.Series(["17700001111", "+86 177-0000-2222"]), "phone")
        first, second = (customer_id(number, key) for number in ("e2e-1", "e2e-2"))
        assert index.lookup(phones).to_list() == [first, second]
        again = load_file(stack, crm, now_us=2)[1]  # loading the same file again writes nothing
        assert (again.claims_changed, again.changes.links) == (0, {})

        crm.write_text(HEADER + "e2e-1,a,17700001111,1,union-e2e-1,\ne2e-2,b,17700003333,1,,M-e2e-2\n")
        load_file(stack, crm, now_us=3)  # the second customer has another number now
        wanted = pl.concat([phones, tokeniser.tokens(pl.Series(["17700003333"]), "phone")])
        deadline_s = time.monotonic() + 10  # the figure of the design: a link counts within ten seconds
        while index.lookup(wanted).to_list() != [first, None, second]:
            assert time.monotonic() < deadline_s, index.lookup(wanted).to_list()
            feed(index, tail.poll_if_due(time.monotonic()))
            time.sleep(0.05)
    finally:
        tail.close()


def test_each_link_has_its_vault_entry(stack: Settings, engine: Engine, tmp_path):
    key = MasterKey.create(stack.keys_file)
    crm = tmp_path / "crm.csv"
    crm.write_text(HEADER + "e2e-9,a,17700009999,1,,\n")
    report, _ = load_file(stack, crm, now_us=4)
    [token] = report.claims.filter(report.claims["token_type"] == "phone")["token"]
    vault = CompactedTail(stack.bootstrap, VAULT_TOPIC)
    try:
        entries = {token: value for batch in vault.load_to_end() for token, value in batch}
    finally:
        vault.close()
    assert open_entry(entries[token], key) == "+8617700009999"


def test_a_topic_that_is_not_there_is_said_plainly(stack: Settings):
    with pytest.raises(TailError, match="kefulake up"):
        CompactedTail(stack.bootstrap, "no.such.topic", timeout_s=5)
