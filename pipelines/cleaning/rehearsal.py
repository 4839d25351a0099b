"""Cleans a few made-up messages before a deployment, so that contracts which do not fit the code are found in time.

A message that makes a rule fail becomes a reject and the job goes on; if a policy lacks a threshold, that would be
every message. The rehearsal runs where the job is planned, before the running one is stopped.
"""

from __future__ import annotations

from pipelines import contracts
from pipelines.cleaning.batch import RawBatch
from pipelines.cleaning.context import CleaningContext
from pipelines.cleaning.process import clean
from pipelines.privacy.keys import MasterKey

_SENT_S = 1_767_960_000
_HEAD = f'{{"session_id":"s","visitor_id":"v","phone":"13900000001","sent_at":{_SENT_S},'
_MESSAGES = (
    '"message_id":"1","sender":"visitor","text":"在吗，我的电话是13900000002"}',
    '"message_id":"2","sender":"agent","text":"在的","response_time_s":30}',
    '"message_id":"3","sender":"visitor","event":"complaint","text":"太慢了"}',
    '"message_id":"4","sender":"visitor","event":"rating","score":5,"score_scale_max":5}',
)


class RehearsalFailed(RuntimeError):
    """The rules cannot run by these contracts; the message says which error the first message met."""


def rehearse() -> dict[str, int]:
    """Clean the made-up messages by the contracts in force; how many went to each topic.

    >>> rehearse()
    {'interactions.clean': 2, 'feedback.clean': 2}

    Raises:
        RehearsalFailed: a rule failed on one of them.
    """
    n = len(_MESSAGES)
    batch = RawBatch(
        [(_HEAD + rest).encode() for rest in _MESSAGES], ["raw.web_chat"] * n, [0] * n, list(range(n)),
        [(_SENT_S + 60) * 1_000_000] * n, [None] * n, [None] * n, [0] * n, [None] * n,
    )  # fmt: skip
    judged = clean(batch, CleaningContext.create(MasterKey({1: bytes(32)})), (_SENT_S + 61) * 1_000_000)
    failed = judged.filter(judged["record"].str.contains('"rule":"cleaning.failed"', literal=True))
    if len(failed):
        raise RehearsalFailed(
            f"the cleaning rules cannot run by the contracts in {contracts.schemas_folder()}: {failed['record'][0]}"
        )
    return {topic: count for topic, count in judged.group_by("topic", maintain_order=True).len().iter_rows()}
