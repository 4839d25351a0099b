"""What runs: Flink and Spark jobs, services, commands."""
