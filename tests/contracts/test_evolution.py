"""Additive changes pass, breaking ones are named."""

import shutil

import pytest
import yaml

from pipelines import contracts


@pytest.fixture
def changed(tmp_path):
    """Applies an edit to a copy of the contracts; returns what breaks."""
    folder = tmp_path / "schemas"
    shutil.copytree(contracts.schemas_folder(), folder)

    def apply(file, edit):
        path = folder / file
        spec = yaml.safe_load(path.read_text())
        edit(spec)
        path.write_text(yaml.safe_dump(spec, allow_unicode=True))
        return contracts.breaking_changes(contracts.load(contracts.schemas_folder()), contracts.load(folder))

    return apply


def test_nothing_changed_breaks_nothing():
    now = contracts.load(contracts.schemas_folder())
    assert contracts.breaking_changes(now, now) == []


def test_a_new_nullable_column_passes(changed):
    assert changed("topics/interactions.clean.yaml", lambda s: s["fields"].append("evidence")) == []


def test_a_new_value_of_a_closed_set_passes(changed):
    assert changed("fields.yaml", lambda s: s["kind"]["values"].append("visit")) == []


def test_a_removed_column_is_refused_for_topic_and_table(changed):
    found = changed("topics/interactions.clean.yaml", lambda s: s["fields"].remove("text"))
    assert "topic interactions.clean: column text was removed; keep it and stop filling it" in found
    # feedback and ticket events take their columns from interactions.clean, and three tables from the three topics
    assert len(found) == 6


def test_another_type_is_refused_and_a_wider_one_passes(changed):
    assert changed("fields.yaml", lambda s: s["raw_partition"].update(type="long")) == []
    found = changed("fields.yaml", lambda s: s["score"].update(type="string"))
    assert any("column score changed from double to string" in line for line in found)


def test_a_column_that_becomes_required_is_refused(changed):
    found = changed("topics/quarantine.rejects.yaml", lambda s: s["required"].append("account"))
    assert found == ["topic quarantine.rejects: account became required; records already written lack it"]


def test_a_lost_value_a_key_and_fewer_partitions_are_refused(changed):
    lost = changed("fields.yaml", lambda s: s["identity_status"]["values"].remove("anonymous"))
    assert any("may no longer hold anonymous" in line for line in lost)
    key = changed("tables/silver.feedback.yaml", lambda s: s.update(primary_key=["event_id"]))
    assert any("silver.feedback: primary_key changed" in line for line in key)
    fewer = changed("topics/raw.web_chat.yaml", lambda s: s.update(partitions=1))
    assert any("topic raw.web_chat: fewer partitions" in line for line in fewer)
