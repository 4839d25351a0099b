"""Base attributes and consents of each customer, out of the CRM's records in silver.customers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.tables.newest_records import newest_records, of_known_customers

ATTRIBUTES = ("region", "birth_year", "gender", "member_level")
CONSENTS = ("consent_marketing", "consent_profiling", "consent_recorded_calls")


def build(records: DataFrame, links: DataFrame, identity: Mapping[str, Any], *, as_of_at: datetime) -> DataFrame:
    """One row a customer: customer_id, identity_status, ATTRIBUTES, crm_status, registered_at, CONSENTS and their _at.

    Where several records are one customer, each attribute comes from the record changed last among those that state
    it; of two statements on a consent the later counts, at the same instant the refusal. A deleted record says nothing.
    """
    there = newest_records(records, ["record_key"], as_of_at=as_of_at).where("crm_status <> 'deleted'")
    # A phone nobody has verified must not find a customer: it may be anybody's.
    attested = there.withColumn("phone_token", F.when(F.col("phone_verified"), F.col("phone_token")))
    known = of_known_customers(attested, links, identity)
    changed = F.struct("updated_at", "record_key")
    return known.groupBy("customer_id").agg(
        F.min("identity_status").alias("identity_status"),  # linked comes before provisional
        *[F.max_by(name, F.when(F.col(name).isNotNull(), changed)).alias(name) for name in ATTRIBUTES],
        F.max_by("crm_status", changed).alias("crm_status"),
        F.min("registered_at").alias("registered_at"),
        *[column for name in CONSENTS for column in _consent(name)],
    )


def _consent(name: str) -> list[Column]:
    said_at = F.coalesce(f"{name}_at", "updated_at")
    # A number: Sail lost the type of a struct with a negated column in it.
    refused = F.when(F.col(name), 0).otherwise(1).alias("refused")
    newest = F.when(F.col(name).isNotNull(), F.struct(said_at.alias("at"), refused))
    return [F.max_by(name, newest).alias(name), F.max_by(said_at, newest).alias(f"{name}_at")]
