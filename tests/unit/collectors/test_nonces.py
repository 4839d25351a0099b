"""The memory of nonces: what it remembers, for how long, over restarts, and when two requests race."""

import asyncio
import sqlite3

import pytest

from pipelines.collectors import nonces as nonces_module
from pipelines.collectors.nonces import Nonces
from pipelines.collectors.refusals import Refusal

KEY = b"k" * 16


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "nonces.sqlite"


def run(path, clock, scenario):
    """Open the store, run the scenario, close it: one life of a gateway."""

    async def life():
        store = Nonces(path, clock)
        try:
            return await scenario(store)
        finally:
            store.close()

    return asyncio.run(life())


async def deliver(store, payload=b"hello", *, key=KEY, expires_at_s=1300.0):
    """A request that Kafka acknowledges; returns whether it had to send anything."""
    async with store.claim(key, payload, expires_at_s) as claim:
        if claim.everything:
            return False
        await store.used(claim)
        return True


def test_same_bytes_are_delivered_once(path, clock):
    async def scenario(store):
        return [await deliver(store), await deliver(store), await deliver(store, key=b"l" * 16)]

    assert run(path, clock, scenario) == [True, False, True]


def test_other_bytes_under_a_used_nonce_are_refused(path, clock):
    async def scenario(store):
        await deliver(store)
        with pytest.raises(Refusal, match=r"nonce\.reused"):
            await deliver(store, b"hello!")
        return await deliver(store)  # the honest retry still counts as delivered

    assert run(path, clock, scenario) is False


def test_a_nonce_counts_only_once_delivered(path, clock):
    async def scenario(store):
        with pytest.raises(ConnectionError):
            async with store.claim(KEY, b"first try", 1300.0):
                raise ConnectionError  # Kafka did not acknowledge
        return await deliver(store, b"other bytes, and that is fine")

    assert run(path, clock, scenario) is True


def test_remembers_over_a_restart_but_not_over_its_expiry(path, clock):
    assert run(path, clock, deliver) is True
    assert run(path, clock, deliver) is False
    clock.now_s = 1300.5  # by now a signature with that timestamp is refused anyway
    assert run(path, clock, deliver) is True


def test_forgets_while_it_runs_too(path, clock):
    async def scenario(store):
        await deliver(store)
        clock.now_s = 1300.5
        return await deliver(store, b"other bytes")

    assert run(path, clock, scenario) is True


def test_the_second_of_two_at_once_waits_for_the_first(path, clock):
    async def scenario(store):
        acknowledged = asyncio.Event()
        order = []

        async def first():
            async with store.claim(KEY, b"hello", 1300.0) as claim:
                order.append("first in flight")
                await acknowledged.wait()
                await store.used(claim)

        async def second():
            sent = await deliver(store)
            order.append(f"second sent: {sent}")

        tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
        while not order:
            await asyncio.sleep(0)
        assert order == ["first in flight"]
        acknowledged.set()
        await asyncio.gather(*tasks)
        return order

    assert run(path, clock, scenario) == ["first in flight", "second sent: False"]


def test_of_many_at_once_exactly_one_sends_even_when_the_first_fails(path, clock):
    async def scenario(store):
        sent = 0

        async def one(number):
            nonlocal sent
            async with store.claim(KEY, b"hello", 1300.0) as claim:
                if claim.everything:
                    return
                await asyncio.sleep(0)
                if number == 0:
                    raise ConnectionError
                sent += 1
                await store.used(claim)

        results = await asyncio.gather(*map(one, range(50)), return_exceptions=True)
        return sent, sum(isinstance(result, ConnectionError) for result in results)

    assert run(path, clock, scenario) == (1, 1)


def test_of_a_batch_partly_acknowledged_the_lines_are_remembered(path, clock):
    async def part(store):
        async with store.claim(KEY, b"a\nb\nc", 1300.0) as claim:
            assert claim.lines == frozenset()
            await store.used(claim, frozenset({1, 3, 20_000}))

    async def rest(store):
        async with store.claim(KEY, b"a\nb\nc", 1300.0) as claim:
            assert not claim.everything
            return sorted(claim.lines)

    run(path, clock, part)
    assert run(path, clock, rest) == [1, 3, 20_000]

    async def finish(store):
        async with store.claim(KEY, b"a\nb\nc", 1300.0) as claim:
            await store.used(claim)

    run(path, clock, finish)
    assert run(path, clock, lambda store: deliver(store, b"a\nb\nc")) is False  # now it is all there


def test_expired_entries_leave_memory_and_file(path, clock):
    async def scenario(store):
        for number in range(100):
            await deliver(store, key=number.to_bytes(16, "big"))
        clock.now_s = 1300.5
        await deliver(store, expires_at_s=1600.0)
        return store.count()

    assert run(path, clock, scenario) == 1
    assert sqlite3.connect(path).execute("SELECT count(*) FROM used_nonces").fetchone() == (1,)


def half_a_database(tmp_path) -> bytes:
    """What a power cut may leave: a good first page, the others lost."""
    whole = tmp_path / "whole.sqlite"
    connection = sqlite3.connect(whole)
    connection.execute("CREATE TABLE used_nonces (key BLOB, digest BLOB, expires_at_s REAL, lines BLOB)")
    connection.executemany("INSERT INTO used_nonces VALUES (?, ?, ?, NULL)", [(b"k" * 16, b"d" * 16, 9e9)] * 2000)
    connection.commit()
    connection.close()
    return whole.read_bytes()[:4096] + b"\0" * (whole.stat().st_size - 4096)


@pytest.mark.parametrize("garbled", [True, False])
def test_a_damaged_file_is_set_aside(path, clock, caplog, tmp_path, garbled):
    content = b"this was a database once" * 100 if garbled else half_a_database(tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    path.with_name(path.name + "-wal").write_bytes(b"left behind")
    assert run(path, clock, deliver) is True
    assert run(path, clock, deliver) is False
    assert path.with_suffix(".damaged").exists()
    assert "damaged" in caplog.text


def test_a_failing_store_does_not_turn_a_delivered_message_away(path, clock, caplog, monkeypatch):
    async def scenario(store):
        def full_disk(*_):
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(store, "_commit", full_disk)
        return [await deliver(store), await deliver(store)]

    assert run(path, clock, scenario) == [True, False]
    assert "not stored" in caplog.text


def test_the_file_is_private(path, clock):
    run(path, clock, deliver)
    assert path.stat().st_mode & 0o077 == 0


def test_line_sets_survive_packing():
    for lines in ({1}, {1, 2, 3}, {20_000}, {7, 8, 9, 16, 17}):
        assert set(nonces_module._unpacked(nonces_module._packed(frozenset(lines)))) == lines
