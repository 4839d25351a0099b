from tests.spark.test_restatements import *  # noqa: F403
