"""How much the gateway holds in memory at once: bodies still arriving and messages Kafka has not acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.collectors.refusals import Refusal


class Room:
    """A bound on bytes held; who finds no room is refused at once instead of waiting in memory.

    >>> room = Room(100)
    >>> with room.hold() as held:
    ...     held.grow(60)
    ...     room.used_bytes
    60
    >>> room.used_bytes
    0
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """One request's share; given back when the block ends, however it ends."""
        held = Held(self)
        try:
            yield held
        finally:
            self.used_bytes -= held.bytes


class Held:
    """What one request holds."""

    __slots__ = ("_room", "bytes")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.bytes = 0

    def grow(self, size: int) -> None:
        """Take ``size`` bytes more.

        Raises:
            Refusal: ``pressure.in_flight``.
        """
        self.require(size)
        self._room.used_bytes += size
        self.bytes += size

    def require(self, size: int) -> None:
        """Refuse (``pressure.in_flight``) what would not find room, before a byte of it is read."""
        if self._room.used_bytes + size > self._room.max_bytes:
            raise Refusal("pressure.in_flight")
