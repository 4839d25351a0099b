"""What the channel tests share: parse an object or bytes, and compare the named columns."""

import json

import pytest

from pipelines.channels import PARSERS

RECEIVED_AT_US = 1768089600_000_000  # 2026-01-11 00:00:00 UTC, after every time in these tests


@pytest.fixture
def parse():
    """``parse(channel, fields or bytes, account, source_ref)``"""

    def parsed(channel, fields, account="default", source_ref=None):
        payload = fields if isinstance(fields, bytes) else json.dumps(fields, ensure_ascii=False).encode()
        return PARSERS[channel](payload, account, RECEIVED_AT_US, source_ref)

    return parsed


@pytest.fixture
def shows():
    """``shows(read, column=value, ...)``: assert the named columns, all that differ at once."""

    def compared(read, **expected):
        assert {name: getattr(read, name, read) for name in expected} == expected

    return compared
