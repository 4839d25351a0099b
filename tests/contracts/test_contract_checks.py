"""Each check of the contracts has an example that it refuses, with the file and the cure in the message."""

import shutil

import pytest
import yaml

from pipelines import contracts
from pipelines.contracts import ContractError


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(contracts.schemas_folder(), tmp_path / "schemas")
    return tmp_path / "schemas"


def change(path, **updates):
    spec = yaml.safe_load(path.read_text())
    spec.update(updates)
    path.write_text(yaml.safe_dump(spec, allow_unicode=True))


@pytest.mark.parametrize(
    ("file", "updates", "message"),
    [
        ("topics/raw.app.yaml", {"retention": 5}, r"raw\.app\.yaml: unknown key\(s\) \['retention'\]"),  # misspelt
        ("topics/raw.app.yaml", {"name": "raw.apps"}, "must equal the file's name"),
        ("topics/raw.app.yaml", {"format": "xml"}, "format is 'xml', must be one of"),
        ("topics/identity.map.yaml", {"fields": ["token", "shoe_size"]}, "shoe_size"),  # not in fields.yaml
        ("topics/identity.map.yaml", {"fields": ["token", "token"]}, "listed twice"),
        ("topics/identity.map.yaml", {"required": ["reason"]}, r"required field\(s\) \['reason'\]"),
        ("topics/feedback.clean.yaml", {"fields_from": "no.such"}, "which is no topic"),
        ("tables/serving.customer_360.yaml", {"fields_from": "gold.customer"}, "no topic and no table"),
        # a copy of a copy: whose columns they are would have to be searched for
        ("tables/serving.customer_360.yaml", {"fields_from": "silver.feedback"}, "no topic and no table"),
        ("tables/serving.customer_360.yaml", {"fields": ["contacts"]}, "listed twice"),  # gold has it already
        ("tables/silver.feedback.yaml", {"topics": ["feedback.clan"]}, "'feedback.clan' is not declared"),
        ("tables/silver.feedback.yaml", {"primary_key": ["id"]}, "primary_key names"),
        ("tables/silver.feedback.yaml", {"engine": "magic"}, "engine is 'magic'"),
        ("tables/silver.feedback.yaml", {"expectations": [{"unique": ["text"], "severity": "panic"}]}, "severity"),
        ("tables/silver.feedback.yaml", {"expectations": [{"is_nice": ["text"], "severity": "warn"}]}, "is_nice"),
        ("tables/gold.hot_questions.yaml", {"reads": ["silver.interaction"]}, "reads names .'silver.interaction'."),
        ("topics/policy.baselines.yaml", {"reads": ["silver.feedbacks"]}, "reads names .'silver.feedbacks'."),
        # said twice, it could be said differently: its topics are what it is made from
        ("tables/silver.feedback.yaml", {"reads": ["silver.orders"]}, "leave reads out"),
        ("fields.yaml", {"text": {"type": "varchar", "description": "x"}}, "type is 'varchar'"),
        ("fields.yaml", {"text": {"type": "string", "description": ""}}, "description is empty"),
    ],
)
def test_refused(folder, file, updates, message):
    change(folder / file, **updates)
    with pytest.raises(ContractError, match=message):
        contracts.load(folder)


def test_a_topic_without_owner_or_dead_letter_is_refused(folder):
    for key in ("owner", "dead_letter"):
        path = folder / "topics" / "raw.sms.yaml"
        spec = yaml.safe_load(path.read_text())
        del spec[key]
        (folder / "topics" / "raw.sms.yaml").write_text(yaml.safe_dump(spec))
        with pytest.raises(ContractError, match=key):
            contracts.load(folder)
        path.write_text(yaml.safe_dump(spec | {key: "collectors"}))


def test_unreadable_yaml_names_the_file(folder):
    (folder / "policies" / "cleaning.yaml").write_text("a: [1")
    with pytest.raises(ContractError, match=r"cleaning\.yaml: cannot be read as YAML"):
        contracts.load(folder)
