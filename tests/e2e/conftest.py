"""Fixtures of the gateway's tests."""

from __future__ import annotations

import pytest

from pipelines.io import identity_rows
from pipelines.io.mariadb import connect
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


@pytest.fixture
def engine(stack):
    """The database with an identity state that knows nobody."""
    engine = connect(stack.database_url)
    with engine.begin() as connection:
        identity_rows.create_tables(connection)
        for table in identity_rows.TABLES:
            connection.exec_driver_sql(f"DELETE FROM {identity_rows.sql_name(table)}")
    return engine
