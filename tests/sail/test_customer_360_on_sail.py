from tests.spark.test_customer_360 import *  # noqa: F403
