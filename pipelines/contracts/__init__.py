"""The contracts: fields, topics, tables and policies, declared once in ``schemas/`` and rendered for every engine.

This package is the only code that reads ``schemas/``.

>>> from pipelines import contracts
>>> contracts.table("silver.interactions").topics
('interactions.clean',)
>>> contracts.topic("raw.web_chat").format
'raw'
"""

from pipelines.contracts.evolution import breaking_changes
from pipelines.contracts.model import (
    SCHEMAS_VARIABLE,
    ContractError,
    Contracts,
    Field,
    Table,
    Topic,
    field,
    fields,
    load,
    policy,
    schemas_folder,
    table,
    tables,
    topic,
    topics,
)
from pipelines.contracts.render import (
    arrow_schema,
    delta_schema,
    docs_page,
    expectations,
    flink_ddl,
    json_schema,
    mariadb_ddl,
    spark_schema,
)

__all__ = [
    "SCHEMAS_VARIABLE",
    "ContractError",
    "Contracts",
    "Field",
    "Table",
    "Topic",
    "arrow_schema",
    "breaking_changes",
    "delta_schema",
    "docs_page",
    "expectations",
    "field",
    "fields",
    "flink_ddl",
    "json_schema",
    "load",
    "mariadb_ddl",
    "policy",
    "schemas_folder",
    "spark_schema",
    "table",
    "tables",
    "topic",
    "topics",
]
