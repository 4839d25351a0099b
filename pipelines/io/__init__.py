"""The only code that touches Kafka, Delta and MariaDB."""
