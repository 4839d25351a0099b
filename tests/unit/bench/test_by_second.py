"""Latency and cores second by second: worked by hand."""

from array import array

from tests.bench.clean_reader import by_second
from tests.bench.core_seconds import Sampler


def test_records_belong_to_the_second_in_which_they_were_received():
    received = array("d", [100.0, 100.2, 101.0, 100.9])  # out of order: partitions are read in turn
    whole = array("d", [10.4, 20.0, 500.0, 30.0])
    judged = array("d", [5.0, 6.0, 400.0, 7.0])
    assert by_second(received, whole, judged) == [
        {"at": 100, "records": 3, "p50": 20, "p95": 30, "judged_p50": 6, "judged_p95": 7},
        {"at": 101, "records": 1, "p50": 500, "p95": 500, "judged_p50": 400, "judged_p95": 400},
    ]


def test_a_second_tells_what_each_part_used_and_what_nobody_did():
    sampler = Sampler(list)
    sampler.cpu = [(10.0, {"broker": 1.0}), (11.0, {"broker": 1.25}), (12.0, {"broker": 1.75})]
    sampler.idle = [(10.0, {"idle": 100.0}), (12.0, {"idle": 101.0})]  # half a core in each of the two seconds
    assert sampler.by_second(10.0, 12.0) == [
        {"at": 10, "broker": 0.25, "idle": 0.5},
        {"at": 11, "broker": 0.5, "idle": 0.5},
    ]
