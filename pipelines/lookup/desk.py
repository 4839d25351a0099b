"""Look-ups that come together are answered together: read at once, written down in one append, then answered.

A chain has one end, so its appends wait for each other: at 200 look-ups a second, each with an append and a write to
disk of its own, they would queue. While one batch is at work the next ones gather; alone, a look-up waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from pipelines.io.audit_log import AuditRefused
from pipelines.lookup.agent_keys import Agent
from pipelines.lookup.answers import Found, act_of
from pipelines.lookup.questions import Question
from pipelines.lookup.refusals import NotAnswered
from pipelines.privacy.audit_chain import Act

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Waiting:
    question: Question
    agent: Agent
    allowed: bool
    answered: asyncio.Future[Found]


class Desk:
    """`read` answers questions in their order, `write_down` appends acts or raises AuditRefused; both may block."""

    def __init__(
        self,
        read: Callable[[Sequence[Question]], list[Found]],
        write_down: Callable[[Sequence[Act]], object],
        *,
        clock_us: Callable[[], int],
        max_batch: int,
        answer_within_s: float,
    ):
        self._read, self._write_down, self._clock_us = read, write_down, clock_us
        self._max_batch, self._within_s = max_batch, answer_within_s
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self.written = 0

    async def ask(self, question: Question, agent: Agent, *, allowed: bool) -> Found:
        """What is known, after it was written down that it was asked; also who may not is written down, and refused.

        Raises NotAnswered.
        """
        waiting = _Waiting(question, agent, allowed, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        try:
            return await asyncio.wait_for(waiting.answered, self._within_s)
        except TimeoutError as error:
            raise NotAnswered("too_busy") from error

    async def run(self) -> None:
        """Serves until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._max_batch and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            batch = [waiting for waiting in batch if not waiting.answered.done()]  # who gave up is not looked up
            if batch:
                self._answer(batch, await asyncio.to_thread(self._served, batch))

    def _served(self, batch: Sequence[_Waiting]) -> list[Found | None] | NotAnswered:
        allowed = [waiting.question for waiting in batch if waiting.allowed]
        try:
            known = iter(self._read(allowed) if allowed else ())
            found = [next(known) if waiting.allowed else None for waiting in batch]
            at_us = self._clock_us()
            self._write_down(
                [act_of(w.question, w.agent, one, at_us) for w, one in zip(batch, found, strict=True)]
            )  # fmt: skip
        except AuditRefused as error:
            log.error("%d look-ups were not answered: %s", len(batch), error)
            return NotAnswered("audit.unavailable")
        except NotAnswered as error:
            return error
        except (DBAPIError, OSError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            log.error("%d look-ups were not answered, the database says: %s", len(batch), reason)
            return NotAnswered("database.unavailable")
        except Exception:  # a mistake of ours: whoever waits must not wait for ever, and must see nothing
            log.exception("%d look-ups were not answered", len(batch))
            return NotAnswered("database.unavailable")
        self.written += len(batch)
        return found

    def _answer(self, batch: Sequence[_Waiting], served: list[Found | None] | NotAnswered) -> None:
        for number, waiting in enumerate(batch):
            if waiting.answered.done():
                continue
            if isinstance(served, NotAnswered):
                waiting.answered.set_exception(NotAnswered(served.error, served.detail))
            elif (found := served[number]) is None:
                waiting.answered.set_exception(NotAnswered("role.not_allowed"))
            else:
                waiting.answered.set_result(found)
