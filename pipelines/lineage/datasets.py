"""Topics and tables as OpenLineage names them, with their columns as the contracts declare them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    dataset_version_dataset,
    documentation_dataset,
    output_statistics_output_dataset,
    schema_dataset,
    symlinks_dataset,
)

from infra.stack.settings import DATABASE, Settings
from pipelines import contracts
from pipelines.lineage.columns import SAME, origins
from pipelines.lineage.graph import Graph, Node


def address(settings: Settings, node: Node) -> tuple[str, str]:
    """Namespace and name by OpenLineage's naming rules; a Delta table is the folder it lies in.

    >>> from pathlib import Path
    >>> from infra.stack.settings import Ports
    >>> here = Settings(Path("/srv/kefulake"), Ports(19200))
    >>> address(here, Node("table", "gold.customer_360"))
    ('file', '/srv/kefulake/lake/gold/customer_360')
    >>> [address(here, Node("database", name))[1] for name in ("identity.claims", "serving.customer_360")]
    ['kefulake.identity_claims', 'kefulake.customer_360']
    >>> address(here, Node("channel", "app")), address(here, Node("trino", "delta.gold.customer_360"))
    (('kefulake', 'channel/app'), ('trino://127.0.0.1:19212', 'delta.gold.customer_360'))
    """
    if node.kind == "topic":
        return f"kafka://{settings.bootstrap.partition(',')[0]}", node.name
    if node.kind == "table":
        return "file", str(settings.table_path(node.name))
    if node.kind == "database":
        from pipelines.io.served_customers import NAMES

        return _server(settings), f"{DATABASE}.{NAMES.get(node.name, node.name.replace('.', '_'))}"
    if node.kind == "trino":
        return f"trino://127.0.0.1:{settings.ports.trino}", node.name
    return "kefulake", f"channel/{node.name}"


def elsewhere(place: str) -> tuple[str, str]:
    """Namespace and name of what no contract declares: a file or an address outside.

    >>> elsewhere("/inbox/0123.csv"), elsewhere("https://crm.example/api/customers?since=1")
    (('file', '/inbox/0123.csv'), ('https://crm.example', '/api/customers'))
    """
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        return "file", parts.path
    # Without user, password and query: an address may carry a token there.
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}", parts.path or "/"


def input_of(settings: Settings, made: Graph, node: Node | str, version: int | None = None) -> InputDataset:
    """A dataset that a run reads; ``version`` of the Delta table, where it is known."""
    if isinstance(node, str):
        return InputDataset(*elsewhere(node))
    return InputDataset(*address(settings, node), facets=_facets(settings, made, node, version))


def output_of(
    settings: Settings, made: Graph, node: Node | str, version: int | None = None, rows: int | None = None
) -> OutputDataset:
    """A dataset that a run writes, with the rows it wrote and where its columns come from, as far as that is known."""
    if isinstance(node, str):
        return OutputDataset(*elsewhere(node))
    facets = _facets(settings, made, node, version)
    same = [o for o in origins(made, node) if o.how == SAME and o.node is not None] if node.kind != "channel" else []
    if same:
        facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(
            fields={o.column: _identity(settings, o.node, o.column) for o in same}
        )
    counted = {} if rows is None else {"outputStatistics": _statistics(rows)}
    return OutputDataset(*address(settings, node), facets=facets, outputFacets=counted)


def _statistics(rows: int) -> output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet:
    return output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)


def _identity(settings: Settings, source: Node, column: str) -> column_lineage_dataset.Fields:
    namespace, name = address(settings, source)
    same = column_lineage_dataset.Transformation(type="DIRECT", subtype="IDENTITY")
    field = column_lineage_dataset.InputField(namespace=namespace, name=name, field=column, transformations=[same])
    return column_lineage_dataset.Fields(inputFields=[field])


def _facets(settings: Settings, made: Graph, node: Node, version: int | None) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    declared = _contract(node)
    if declared is not None:
        facets["documentation"] = documentation_dataset.DocumentationDatasetFacet(description=declared.description)
        facets["schema"] = schema_dataset.SchemaDatasetFacet(
            fields=[
                schema_dataset.SchemaDatasetFacetFields(name=f.name, type=f.type, description=f.description)
                for f in declared.fields
            ]
        )
    if node.kind == "table":
        named = symlinks_dataset.Identifier(namespace="delta", name=node.name, type="TABLE")
        facets["symlinks"] = symlinks_dataset.SymlinksDatasetFacet(identifiers=[named])
    if version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=str(version))
    return facets


def _contract(node: Node) -> contracts.Topic | contracts.Table | None:
    if node.kind == "topic":
        return contracts.topic(node.name)
    return contracts.table(node.name) if node.kind in ("table", "database") else None


def _server(settings: Settings) -> str:
    if settings.own_mariadb:
        return f"mysql://127.0.0.1:{settings.ports.mariadb}"
    parts = urlsplit(settings.database_url)
    return f"mysql://{parts.hostname}:{parts.port or 3306}"
