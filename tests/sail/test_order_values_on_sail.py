from tests.spark.test_order_values import *  # noqa: F403
