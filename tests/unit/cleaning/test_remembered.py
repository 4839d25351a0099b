"""Messages told again after a restore, among fresh ones."""

from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.process import OUTPUT_TYPES
from pipelines.cleaning.remembered import SEEN, judged, record


def batch(*topics):
    size = len(topics)
    payloads = [record(f"e{n}", "raw.app", 0, n, None, None) if t == SEEN else b"{}" for n, t in enumerate(topics)]
    return RawBatch(payloads, list(topics), [0] * size, list(range(size)), [5] * size, [None] * size, [None] * size,
                    [0] * size, [None] * size)  # fmt: skip


def clean(fresh):
    assert SEEN not in fresh.topics, "no remembered message is judged"
    return {name: [f"{name} of {offset}" for offset in fresh.offsets] for name in OUTPUT_TYPES}


def test_rows_stand_where_their_messages_stood():
    found = judged(batch("raw.sms", SEEN, "raw.sms", SEEN), clean)
    assert found["event_id"] == ["event_id of 0", "e1", "event_id of 2", "e3"]
    assert found["topic"] == ["topic of 0", "restore.seeded", "topic of 2", "restore.seeded"]
    assert {len(column) for column in found.values()} == {4}


def test_a_batch_of_remembered_ones_alone():
    found = judged(batch(SEEN), clean)
    assert (found["event_id"], found["raw_ref"], found["vault_entries"]) == (["e0"], ["raw.app|0|0"], [None])


def test_without_any_the_batch_goes_on_as_it_is():
    fresh = batch("raw.sms", "raw.app")
    assert judged(fresh, lambda got: {"same": [got is fresh]}) == {"same": [True]}
