"""What each form of pages asks for, and which answers are no whole page."""

import httpx
import msgspec
import pytest

from pipelines.connectors import pages, resources
from pipelines.connectors.failures import Passing, SourceRefused, WalkExpired
from pipelines.connectors.http_client import Answer
from pipelines.connectors.pages import Step
from pipelines.connectors.resources import LinkPages, NumberPages, OffsetPages, TokenPages

ORDERS = resources.declared().resources["orders"]
ORIGIN = "https://oms.example.com/api"
AT_US = 1_767_916_800_000_000
NUMBER = NumberPages("page", "per_page", 2, "data.total", "data.page")
OFFSET = OffsetPages("offset", "limit", 2, "total")
TOKEN = TokenPages("cursor", "limit", 2, "next", "more", "count")
LINK = LinkPages("size", 2, "X-Total-Count")


def of(page, records="items"):
    return msgspec.structs.replace(ORDERS, page=page, records=records)


@pytest.mark.parametrize(
    ("page", "step", "path", "asked"),
    [
        (NUMBER, Step(None), "/orders", {"per_page": "2", "page": "1"}),
        (NUMBER, Step(AT_US, 4), "/orders", {"per_page": "2", "page": "3", "updated_after_ms": "1767916800000"}),
        (OFFSET, Step(None, 4), "/orders", {"limit": "2", "offset": "4"}),
        (TOKEN, Step(None), "/orders", {"limit": "2"}),
        (TOKEN, Step(None, token="x=="), "/orders", {"limit": "2", "cursor": "x=="}),
        (LINK, Step(None), "/orders", {"size": "2"}),
        (LINK, Step(None, 2, "https://oms.example.com/orders?page=2"), "https://oms.example.com/orders?page=2", {}),
    ],
)
def test_what_is_asked_for(page, step, path, asked):
    assert pages.request(of(page), step) == (path, asked)


def read(page, body, step=None, headers=None, status=200, records="items"):
    answer = Answer(status, httpx.Headers(headers or {}), body, None)
    return pages.read(of(page, records), step or Step(AT_US), answer, ORIGIN)


@pytest.mark.parametrize(
    ("page", "body", "headers", "following"),
    [
        (OFFSET, b'{"items":[{},{}],"total":3}', {}, Step(AT_US, 2)),
        (OFFSET, b'{"items":[{},{}],"total":2}', {}, None),
        (OFFSET, b'{"items":[],"total":0}', {}, None),
        (TOKEN, b'{"items":[{},{}],"more":true,"next":"t","count":2}', {}, Step(AT_US, token="t")),
        (TOKEN, b'{"items":[{}],"more":false,"next":"t","count":1}', {}, None),  # some give a token at the end too
        (TOKEN, b'{"items":[],"more":false,"next":null,"count":0}', {}, None),
        (LINK, b'{"items":[{}]}', {"X-Total-Count": "1"}, None),
        (
            LINK,
            b'{"items":[{},{}]}',
            {"X-Total-Count": "5", "Link": '</orders?page=1>; rel="first", </orders?page=2>; rel="next"'},
            Step(AT_US, 2, "https://oms.example.com/orders?page=2"),
        ),
    ],
)
def test_a_whole_page_says_how_to_go_on(page, body, headers, following):
    assert read(page, body, headers=headers).following == following


@pytest.mark.parametrize(
    ("page", "body", "headers", "why"),
    [
        (OFFSET, b'{"items":[{},{}],"tot', {}, "no whole JSON"),  # cut off
        (OFFSET, b"<html>busy</html>", {}, "no whole JSON"),
        (OFFSET, b'{"total":3}', {}, "has no items"),
        (OFFSET, b'{"items":{},"total":3}', {}, "no whole JSON list at items"),
        (OFFSET, b'{"items":[{}],"total":3}', {}, "1 records came, 2 are due"),
        (OFFSET, b'{"items":[]}', {}, "has no total"),
        (OFFSET, b'{"items":[],"total":"3"}', {}, "total of the answer"),
        (NUMBER, b'{"items":[{},{}],"data":{"total":9,"page":2}}', {}, "page 1 was asked for, page 2 came"),
        (TOKEN, b'{"items":[{}],"more":false,"next":null,"count":2}', {}, "1 records came, the answer says 2"),
        (TOKEN, b'{"items":[{}],"more":true,"next":"t","count":1}', {}, "1 records came and there is more"),
        (TOKEN, b'{"items":[{},{}],"more":true,"count":2}', {}, "next is missing"),
        (LINK, b'{"items":[{}]}', {"X-Total-Count": "2"}, "1 records came, 2 are due"),
        (LINK, b'{"items":[{},{}]}', {}, "has no X-Total-Count"),
    ],
)
def test_a_page_that_is_not_whole_may_be_better_next_time(page, body, headers, why):
    with pytest.raises(Passing, match=why):
        read(page, body, headers=headers)


def test_the_bytes_of_a_record_stay_as_they_came():
    body = b'{"items":[ {"b": 1.10, "a": "\\u738b"} , null, 12345678901234567890123],"total":3}'
    found = read(OffsetPages("offset", "limit", 5, "total"), body)
    assert found.values == [b'{"b": 1.10, "a": "\\u738b"}', b"null", b"12345678901234567890123"]


def test_a_token_that_leads_to_itself_and_one_that_is_forgotten():
    with pytest.raises(Passing, match="leads to itself"):
        read(TOKEN, b'{"items":[{},{}],"more":true,"next":"t","count":2}', Step(AT_US, token="t"))
    with pytest.raises(WalkExpired):
        read(TOKEN, b"{}", Step(AT_US, token="t"), status=410)


@pytest.mark.parametrize(
    "link", ["https://evil.example.com/orders?page=2", "http://oms.example.com/orders?page=2", "//evil.example.com/x"]
)
def test_our_credentials_follow_no_link_to_another_server(link):
    headers = {"X-Total-Count": "5", "Link": f'<{link}>; rel="next"'}
    with pytest.raises(SourceRefused, match="another server"):
        read(LINK, b'{"items":[{},{}]}', headers=headers)
