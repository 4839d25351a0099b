"""Synthetic traffic of all channels, with truth: who is who, which rows are dirty and how.

Nothing here is read by product code: it makes input for demonstrations, tests and load.
"""
