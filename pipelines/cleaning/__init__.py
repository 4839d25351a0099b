"""Cleaning rules: plain functions over columns, thresholds as keyword arguments from ``schemas/policies``.

No clock, no network, no state: what a rule needs to know of the past comes in as a versioned baseline.
"""
