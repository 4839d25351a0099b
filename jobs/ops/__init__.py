"""Commands of `kefulake` for those who run it."""
