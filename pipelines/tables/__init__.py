"""A module a gold table: DataFrames in, DataFrame out. Nothing here reads, writes or starts a session."""
