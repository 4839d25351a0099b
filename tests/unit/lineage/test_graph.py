"""The way of the data, on the contracts in force and on a few made by hand."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jobs import cli
from pipelines import contracts
from pipelines.lineage import columns, drawing
from pipelines.lineage.graph import Node, graph

VIEW = Node("table", "gold.customer_360")


@pytest.fixture(scope="module")
def made():
    return graph()


def printed(tree) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tree)
    return console.export_text()


def test_the_view_leads_back_to_every_channel_and_on_to_what_is_served(made):
    before = set(made.reach(VIEW, made.inputs))
    assert {n.name for n in before if n.kind == "channel"} == set(contracts.field("channel").values)
    after = made.reach(VIEW, made.outputs)
    assert {Node("database", "serving.customer_360"), Node("trino", "delta.gold.customer_360")} <= set(after)
    # what a restore tells the job again makes no row, and raw bytes are kept, not counted
    assert Node("table", "bronze.raw_events") not in before


def test_the_first_steps_of_a_message(made):
    """app → raw.app → clean_interactions → interactions.clean → tiering → silver → customer_360: by name, by hand."""
    chain = [
        (Node("channel", "app"), Node("topic", "raw.app"), ("gateway", "replay", "simulate")),
        (Node("topic", "raw.app"), Node("topic", "interactions.clean"), ("clean_interactions",)),
        (Node("topic", "interactions.clean"), Node("table", "silver.interactions"), ("tiering",)),
        (Node("table", "silver.interactions"), VIEW, ("customer_360",)),
        (VIEW, Node("database", "serving.customer_360"), ("serving",)),
    ]
    for source, target, jobs in chain:
        assert source in made.inputs(target), target
        assert set(jobs) <= set(made.jobs(target)), target


def test_a_topic_and_a_table_of_one_name_are_two(made):
    assert made.find("review.queue") == Node("table", "review.queue")
    assert made.find("topic review.queue") == Node("topic", "review.queue")
    assert made.inputs(Node("table", "review.queue")) == (Node("topic", "review.queue"),)


def test_what_is_read_and_makes_nothing_declared_is_told_too(made):
    assert made.readers[Node("topic", "interactions.clean")] == ("serving_writer",)
    assert "read by serving_writer (service)" in printed(
        drawing.downstream(made, made.find("topic interactions.clean"))
    )


def test_a_circle_is_drawn_once(made):
    """Baselines come from silver and are read by the job that silver comes from."""
    text = printed(drawing.upstream(made, VIEW))
    assert text.count("← clean_interactions (Flink job)") == 4  # interactions, feedback, customers, orders
    assert text.count("← baselines (Spark job)") == 1
    # raw topics by who writes them: a store's files too, an API's records too, and the others
    assert text.count("← gateway (service)") == 3
    assert "Kafka topic policy.baselines (elsewhere in this tree)" in text


def test_json_and_dot_hold_the_same_edges(made):
    nodes = made.reach(VIEW, made.inputs)
    told = json.loads(drawing.as_json(made, nodes, VIEW))
    dot = drawing.as_dot(made, nodes)
    assert dot.count(" -> ") == len(told["edges"])
    made_by = {(e["from"], e["to"]): e["jobs"] for e in told["edges"]}
    assert made_by["table:silver.orders", "table:gold.customer_360"] == [
        {"name": "customer_360", "kind": "Spark job", "file": "jobs/spark/customer_360.py"}
    ]
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=dot, text=True, capture_output=True, check=True)


def test_a_column_is_the_same_only_where_the_contract_says_so(made):
    found = {o.column: o for o in columns.origins(made, Node("table", "silver.customers"))}
    assert (found["region"].how, found["region"].node) == ("same", Node("topic", "customers.clean"))
    assert (found["received_date"].how, found["received_date"].jobs) == ("derived", ("tiering", "migrate"))
    region = {o.column: o for o in columns.origins(made, VIEW)}["region"]
    # the newest verified record's region, not just any: an equal name is a hint
    assert (region.how, region.candidates) == ("derived", (Node("table", "silver.customers"),))
    served = columns.way(made, Node("database", "serving.customer_360"), "region")
    assert [(o.how, o.node) for o in served] == [("same", VIEW), ("derived", None)]


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["gold.customer_360"], "Kafka topics raw.app"),
        (["gold.customer_360", "--down"], "MariaDB table serving.customer_360"),
        (["gold.customer_360.region"], "of that name in silver.customers"),
        (["silver.interactions", "--columns"], "topic interactions.clean (same, tiering, migrate)"),
        (["app", "--down", "--format", "dot"], '"channel:app" -> "topic:raw.app"'),
    ],
)
def test_the_command(arguments, seen):
    done = CliRunner().invoke(cli.build(["lineage"]), ["lineage", *arguments])
    assert done.exit_code == 0, done.output
    assert seen in done.output


def test_what_is_not_declared_is_one_plain_sentence():
    done = CliRunner().invoke(cli.build(["lineage"]), ["lineage", "gold.customer_36"])
    assert str(done.exception).startswith("no table, topic or channel 'gold.customer_36' is declared")
    assert "gold.customer_360" in str(done.exception)
