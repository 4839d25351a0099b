"""The gate in front of gold: what is checked, how bad rows are found, and what a failed build says."""
