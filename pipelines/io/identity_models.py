"""The model that matching has learned from this CRM's own records, kept in MariaDB: plain numbers, nobody's values."""

from __future__ import annotations

import json

from sqlalchemy import Connection, text

from pipelines.identity.match_model import Model
from pipelines.io.identity_rows import instant

_NEWEST = text(
    "SELECT match_model FROM identity_match_models WHERE rule_version LIKE :of ORDER BY learned_at DESC LIMIT 1"
)
_KEEP = text(
    "INSERT INTO identity_match_models (rule_version, match_model, learned_from_records, learned_at)"
    " VALUES (:version, :model, :records, :at) ON DUPLICATE KEY UPDATE learned_at = VALUES(learned_at)"
)


def newest(connection: Connection, policy_version: str) -> Model | None:
    """The model learned last under this version of policy matching; None where nothing was learned yet."""
    found = connection.execute(_NEWEST, {"of": f"{policy_version}/%"}).scalar()
    return None if found is None else json.loads(found)


def keep(connection: Connection, model: Model, at_us: int) -> None:
    """This model from now on."""
    values = {"version": model["version"], "model": json.dumps(model), "records": model["population"]}
    connection.execute(_KEEP, values | {"at": instant(at_us)})
