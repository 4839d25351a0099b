"""The embedded stack: real Kafka, Flink, MariaDB and (when asked) Trino on one machine, without Docker or root."""
