"""Connectors: systems that have to be asked over an API, read into the same raw topics as the stream."""
