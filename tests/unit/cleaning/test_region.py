"""A message in the wrong region's root: a reject with its bytes, and nothing else is made of it."""

import orjson
import polars as pl
import pytest

from pipelines.cleaning import process, region
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.collectors.regions import Further, Regions
from pipelines.contracts import ContractError
from pipelines.privacy.keys import MasterKey
from pipelines.privacy.payloads import open_payload

KEY = MasterKey({1: bytes(32)})
SENT_S = 1_767_960_000  # 2026-01-09 12:00:00 UTC
REGIONS = Regions("cn", (Further("sg"), Further("de")), {("web_chat", "shop_sg"): "sg", ("app", "shop_de"): "de"})


def context(here, regions=REGIONS):
    made = CleaningContext.create(KEY)
    made.region, made.regions = here, regions
    return made


def turn(number):
    """A customer's turn with a phone number of its own, so that each kept one has a token and a vault entry."""
    said = {"message_id": f"m{number}", "session_id": "s", "visitor_id": "v", "sender": "customer"}
    return orjson.dumps(said | {"sent_at": SENT_S, "phone": f"139123456{number:02}", "text": "订单什么时候发货"})


def batch(*accounts, topic="raw.web_chat", payloads=None):
    n = len(accounts)
    return RawBatch(
        payloads or [turn(i) for i in range(n)], [topic] * n, [0] * n, list(range(n)), [(SENT_S + 1) * 1_000_000] * n,
        list(accounts), [None] * n, [0] * n, [None] * n,
    )  # fmt: skip


def rules(messages, ctx):
    return [orjson.loads(record).get("rule") for record in process.clean(messages, ctx, 1)["record"]]


# account header -> in which root it is kept (the three roots are cn, sg, de)
OWNERS = {
    "shop_sg": "sg",  # named by sg
    "default": "cn",  # named nowhere: the home region's
    None: "cn",  # no header is `default`
    "shop_de": "cn",  # de names it for app, not for web_chat
    "SHOP_SG": "cn",  # names are taken as they are
    "shop_sg ": "cn",
    "shop\x1fsg": "cn",  # the separator of the look-up within a name
}


@pytest.mark.parametrize("here", REGIONS.names)
def test_each_account_is_kept_in_its_own_root_only(here):
    expected = [None if owner == here else "region.wrong" for owner in OWNERS.values()]
    assert rules(batch(*OWNERS), context(here)) == expected


def test_of_a_misplaced_message_there_is_its_reject_and_nothing_else():
    ctx = context("cn")
    out = process.clean(batch("default", "shop_sg"), ctx, 1)
    kept, refused = out.to_dicts()
    assert refused["topic"] == "quarantine.rejects"
    assert (refused["event_id"], refused["record_key"]) == ("raw.web_chat|0|1",) * 2  # known by its place alone
    record = orjson.loads(refused["record"])
    assert record["reason"] == "Account 'shop_sg' of web_chat belongs to region sg, and this is the root of region cn."
    assert open_payload(record["payload_encrypted"], KEY, "raw.web_chat/0/1") == turn(1)
    said = {"raw_topic", "raw_partition", "raw_offset", "attempt", "channel", "account", "received_at", "processed_at"}
    assert set(record) == said | {"rule", "reason", "payload_bytes", "payload_encrypted"}
    # One phone number became a token: that of the message that is at home.
    assert kept["topic"] == "interactions.clean"
    tokens = [entry.partition("|")[0] for entry in kept["vault_entries"]]
    assert sum(token.startswith("ph") for token in tokens) == 1


def test_a_misplaced_message_is_not_even_read():
    """Otherwise what its parser found wrong would stand before what matters, and parsing might keep something of it."""
    wrong = batch("shop_sg", "shop_sg", payloads=[b"{no json", None])
    assert rules(wrong, context("cn")) == ["region.wrong", "region.wrong"]
    assert rules(wrong, context("sg")) == ["payload.not_json", "payload.empty"]


def test_the_verdict_does_not_depend_on_the_batch():
    accounts = [*OWNERS] * 5
    together = rules(batch(*accounts), context("sg"))
    assert together == [rules(batch(account), context("sg"))[0] for account in accounts]


def test_with_one_region_no_account_is_looked_up(monkeypatch):
    monkeypatch.setattr(region, "region_of_account", None)  # would fail if it were called
    assert rules(batch("shop_sg", None), context("cn", Regions("cn"))) == [None, None]


def test_a_further_region_without_accounts_refuses_everything():
    assert rules(batch("shop_sg", None), context("de", Regions("cn", (Further("de"),)))) == ["region.wrong"] * 2


def test_a_long_name_is_cut_in_the_reason():
    assert len(region.reason("app", "x" * 1_000_000, "sg", "cn")) < 200


def test_a_root_of_no_declared_region_is_refused():
    with pytest.raises(ContractError, match="no region 'us'"):
        CleaningContext.create(KEY, "us")


def test_rows_that_state_no_account_are_the_home_regions():
    found = region.region_of_account(pl.Series(["app"]), pl.Series(["x"]), home="cn", by_account={})
    assert found.to_list() == ["cn"]
