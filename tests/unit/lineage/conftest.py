"""What tests of lineage share: a home, and the official schemas that every event is held against."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from infra.stack.settings import Ports, Settings
from pipelines.lineage import receivers

SPEC = Path(__file__).parent / "openlineage_spec"
AIRFLOW = {
    "AIRFLOW_CTX_DAG_ID": "customer_360", "AIRFLOW_CTX_TASK_ID": "build", "AIRFLOW_CTX_TRY_NUMBER": "1",
    "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-01-05",
}  # fmt: skip


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    for name in (receivers.URL, receivers.DISABLED, receivers.API_KEY, *AIRFLOW):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(receivers, "_away_until", {})
    return Settings(tmp_path, Ports(20_000))


def told(settings: Settings) -> list[dict]:
    file = receivers.events_file(settings)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def registry() -> Registry:
    files = [json.loads(f.read_text(encoding="utf-8")) for f in SPEC.rglob("*.json")]
    return Registry().with_resources([(f["$id"], Resource.from_contents(f)) for f in files])


FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    """jsonschema looks at instants only with a library more."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@pytest.fixture(scope="module")
def broken(registry):
    """What the official schema, and that of each facet, has against an event."""

    def all_errors(event: dict) -> list[str]:
        def against(value: dict, reference: str) -> list[str]:
            schema = Draft202012Validator({"$ref": reference}, registry=registry, format_checker=FORMATS)
            return [f"{reference}: {e.json_path}: {e.message}" for e in schema.iter_errors(value)]

        found = against(event, "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent")
        datasets = [*event.get("inputs", ()), *event.get("outputs", ())]
        holders = [event.get("run", {}), event.get("job", {}), *datasets]
        facets = [holder.get("facets", {}) for holder in holders] + [d.get("outputFacets", {}) for d in datasets]
        for some in facets:
            for facet in some.values():
                found += against(facet, facet["_schemaURL"])
        return found

    return all_errors
