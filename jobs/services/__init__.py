"""Services of our own that run beside Kafka, Flink and MariaDB."""
