from tests.spark.test_gold_equality import *  # noqa: F403
