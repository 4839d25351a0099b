"""What comes from what, read out of the contracts, and the same told as OpenLineage events while jobs run."""
