"""Puts what gold published where agents look it up: after each build, or by `kefulake lookup publish`."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError

from infra.stack.files import private_folder
from infra.stack.settings import Settings
from pipelines import contracts
from pipelines.io import served_customers
from pipelines.io.bulk_rows import RowsRefused, drop_leavings
from pipelines.io.mariadb import connect
from pipelines.lineage.runs import lineage_run

log = logging.getLogger(__name__)


class ServingFailed(RuntimeError):
    """MariaDB does not serve the published view; the message says what it serves and what to do."""


def serve_customers(settings: Settings, *, anew: bool = False) -> served_customers.Served | None:
    """Bring MariaDB to the published gold.customer_360; None while there is none. Raises ServingFailed."""
    serving = contracts.policy("serving")["load_data"]
    load_data = serving == "always" or (serving == "own_server" and settings.own_mariadb)
    paths = {name: settings.table_path(name) for name in (served_customers.GOLD, served_customers.TAGS)}
    scratch = private_folder(settings.run / "served_customers") if load_data else None
    if scratch is not None:
        drop_leavings(scratch)
    try:
        engine = connect(settings.database_url, load_data=load_data)
        with lineage_run("serving", paths, [*served_customers.NAMES], settings=settings):
            served = served_customers.serve(
                engine, paths, scratch=scratch, policy=contracts.policy("lookup")["publish"], anew=anew
            )
        engine.dispose()
    except (DBAPIError, OSError, RowsRefused, served_customers.GoldMoved) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise ServingFailed(
            f"agents still see the customers of the build before: MariaDB could not take the new one ({reason}). "
            "Is it up? kefulake status; then kefulake lookup publish"
        ) from error
    if served is not None:
        log.info(
            "%s in MariaDB: %d rows written, %d removed, %d as they were",
            served_customers.GOLD, served.written, served.removed, served.unchanged,
        )  # fmt: skip
    return served
