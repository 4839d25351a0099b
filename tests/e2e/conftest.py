"""Fixtures of the gateway's tests."""

from __future__ import annotations

import pytest

from tests.e2e.gateway_process import Arrivals, Gateway


@pytest.fixture(scope="module")
def gateway(stack, tmp_path_factory):
    """A gateway of this module's own on the shared stack."""
    running = Gateway(stack, tmp_path_factory.mktemp("gateway"))
    yield running
    running.stop()


@pytest.fixture
def raw(stack):
    """What arrived in the raw topics since the test began."""
    return Arrivals(stack)
