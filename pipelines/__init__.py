"""Kefulake's own knowledge: contracts, channels, cleaning, privacy, identity, tables. No engine starts here."""
