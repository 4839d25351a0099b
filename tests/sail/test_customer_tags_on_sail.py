from tests.spark.test_customer_tags import *  # noqa: F403
