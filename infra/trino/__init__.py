"""Trino over the lake: one process, one catalogue (``delta``), read-only for everybody but the product."""
