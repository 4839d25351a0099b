"""Airflow as a part of the stack, and what its DAGs are wired with."""
