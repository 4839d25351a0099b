from tests.spark.test_publishing_stops import *  # noqa: F403
