from tests.spark.test_incremental_360 import *  # noqa: F403
