"""Bodies that lie about their size, crawl, or come in a form nobody asked for."""

import asyncio

import pytest

from pipelines.collectors import request_body
from pipelines.collectors.refusals import Refusal
from pipelines.collectors.room import Room


async def chunks(*parts, pause_s=0.0):
    for part in parts:
        if pause_s:
            await asyncio.sleep(pause_s)
        yield part


def read(source, *, max_bytes=10, room_bytes=100, timeout_s=5.0):
    room = Room(room_bytes)

    async def reading():
        with room.hold() as held:
            return await request_body.read(source, held, max_bytes=max_bytes, timeout_s=timeout_s)

    try:
        return asyncio.run(reading())
    finally:
        assert room.used_bytes == 0  # whatever happened, the room is given back


def test_parts_are_joined():
    assert read(chunks(b"ab", b"", b"cd")) == b"abcd"


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        (chunks(), {}, "body.empty"),
        (chunks(b""), {}, "body.empty"),
        (chunks(b"x" * 11), {}, "body.too_large"),
        (chunks(*[b"x"] * 11), {}, "body.too_large"),  # in chunks, without an announced length
        (chunks(b"x", b"y", pause_s=5), {"timeout_s": 0.01}, "body.too_slow"),
        (chunks(b"x" * 9), {"room_bytes": 8}, "pressure.in_flight"),
    ],
)
def test_refusals(source, options, error):
    with pytest.raises(Refusal) as refused:
        read(source, **options)
    assert refused.value.error == error


@pytest.mark.parametrize(
    ("announced", "size"),
    [("10", 10), ("", 0), ("-5", 0), ("１０", 0), ("9" * 5000, 0)],  # odd ones are left to the reading guard
)
def test_announced_size(announced, size):
    assert request_body.announced_bytes({"content-length": announced}, max_bytes=10) == size


def test_an_announced_size_over_the_limit_is_refused_unread():
    with pytest.raises(Refusal, match=r"body\.too_large"):
        request_body.announced_bytes({"content-length": "11"}, max_bytes=10)


ACCEPTED = ["application/json", "text/xml"]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, (None, None)),  # WeChat sends none at times
        ({"content-type": "text/xml"}, ("text/xml", None)),
        ({"content-type": 'Text/XML; Charset="GB18030"'}, ("text/xml", "gb18030")),
        (
            {"content-type": "application/json;charset=utf-8", "content-encoding": "identity"},
            ("application/json", "utf-8"),
        ),
    ],
)
def test_content_type(headers, found):
    assert request_body.content_type_of(headers, ACCEPTED) == found


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"content-encoding": "gzip"}, "body.encoded"),
        ({"content-encoding": "identity, br"}, "body.encoded"),
        ({"content-type": "multipart/form-data; boundary=x"}, "content_type.unknown"),
        ({"content-type": "text/xml; charset=" + "x" * 41}, "content_type.unknown"),
        ({"content-type": "text/xml; charset=ütf"}, "content_type.unknown"),
    ],
)
def test_content_type_refusals(headers, error):
    with pytest.raises(Refusal) as refused:
        request_body.content_type_of(headers, ACCEPTED)
    assert refused.value.error == error
