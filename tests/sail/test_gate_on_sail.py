from tests.spark.test_gate import *  # noqa: F403
