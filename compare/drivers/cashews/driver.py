"""One node of cashews: the driver protocol of ../../src/protocol.rs, one JSON object a line.

Set up as "Redis" and "client-side cache" of its documentation: Redis with `client_side=True`, which keeps a copy in memory and
drops it on Redis' own invalidation messages; reads by a `@cache` function, whose calls of one key are joined in a process
(`protected`, the default); writes followed by `cache.delete`. The copy in memory has room for all keys, as every rival's.

`protocol=2` is not in its documentation. redis-py 8, which its packages ask for, speaks RESP3 unless told otherwise, and then the
invalidation messages never arrive: a row that another node has deleted stays in memory until its life ends.
"""

import array
import asyncio
import json
import sys
import time

import asyncpg
from cashews import cache
from cashews.backends.memory import Memory

LOAD = "SELECT id, version, name, body FROM item WHERE id = $1"
CHANGE = "UPDATE item SET version = version + 1 WHERE id = $1 RETURNING version"
# Reads of one task between two turns of the others; hits never wait for anything outside.
TURN = 64
# A read or an invalidation that takes longer is given up, in seconds.
PATIENCE_S = 2.0

# The clock of all processes, in nanoseconds.
now = time.monotonic_ns


class Seen:
    """What the tasks of a phase have seen."""

    def __init__(self):
        self.times = array.array("q")
        self.failed = 0
        self.why = None

    def fail(self, error):
        self.failed += 1
        self.why = self.why or f"{type(error).__name__}: {error}"

    def answer(self, began):
        took = sorted(self.times)
        at = lambda share: took[min(len(took) - 1, int(len(took) * share))] if took else 0
        return {
            "reads": len(took),
            "failed": self.failed,
            "nanos": now() - began,
            "p50_ns": at(0.5),
            "p99_ns": at(0.99),
            "why": self.why,
        }


class Node:
    """The cache, and the database behind it."""

    async def open(self, postgres, redis, life_s, entries, connections, **_):
        self.pool = await asyncpg.create_pool(postgres, min_size=1, max_size=connections)
        cache.setup(redis, client_side=True, local_cache=Memory(size=entries), protocol=2)
        await cache.init()
        pool = self.pool

        @cache(ttl=life_s, key="item:{id}")
        async def load(id):
            row = await pool.fetchrow(LOAD, id)
            if row is None:
                raise LookupError(f"no row {id}")
            return dict(row)

        self.load = load
        return {}

    async def get(self, id):
        return (await self.load(id))["version"]

    async def read(self, seen, id):
        start = now()
        try:
            await self.load(id)
            seen.times.append(now() - start)
        except Exception as error:
            seen.fail(error)

    async def each(self, keys, tasks, limit_ms, **_):
        seen, began = Seen(), now()
        deadline = began + limit_ms * 1_000_000
        order = iter(range(1, keys + 1))

        async def task():
            for key in order:
                if now() >= deadline:
                    return
                await self.read(seen, key)

        await asyncio.gather(*(task() for _ in range(tasks)))
        return seen.answer(began)

    async def hot(self, sequence, keys, tasks, run_ms, **_):
        order = read_sequence(sequence)
        await self.each(keys, tasks, 3_600_000)
        seen, began = Seen(), now()
        end = began + run_ms * 1_000_000

        async def task(at):
            while now() < end:
                for _ in range(TURN):
                    await self.read(seen, order[at % len(order)])
                    at += 1
                await asyncio.sleep(0)

        await asyncio.gather(*(task(index * (len(order) // tasks)) for index in range(tasks)))
        return seen.answer(began)

    async def crowd(self, key, readers, **_):
        seen, began = Seen(), now()
        await asyncio.gather(*(self.read(seen, key) for _ in range(readers)))
        return seen.answer(began)

    async def watch(self, sequence, offset, readers, reads_per_s, writers, bursts_per_s, burst, run_ms, file, **_):
        order, lines, seen, began = read_sequence(sequence), [], Seen(), now()
        end = began + run_ms * 1_000_000
        stride = len(order) // (readers + writers)

        async def reader(task):
            at = offset + task * stride
            async for _ in turns(began, end, task, readers, reads_per_s):
                key, start = order[at % len(order)], now()
                at += 1
                try:
                    version = await asyncio.wait_for(self.get(key), PATIENCE_S)
                    lines.append(f"R {key} {version} {start} {now()}")
                except Exception as error:
                    seen.fail(error)
                    lines.append(f"F {start}")

        async def writer(task):
            at = offset + (readers + task) * stride
            async for _ in turns(began, end, task, writers, bursts_per_s):
                key = order[at % len(order)]
                at += 1
                for _ in range(burst):
                    try:
                        version = await self.pool.fetchval(CHANGE, key)
                        lines.append(f"W {key} {version} {now()}")
                    except Exception as error:
                        seen.why = seen.why or f"writing: {error}"
                        continue
                    try:
                        await asyncio.wait_for(cache.delete(f"item:{key}"), PATIENCE_S)
                    except Exception:
                        lines.append(f"L {key}")

        await asyncio.gather(*map(reader, range(readers)), *map(writer, range(writers)))
        with open(file, "w") as out:
            out.writelines(line + "\n" for line in lines)
        reads = sum(line.startswith("R") for line in lines)
        return {"reads": reads, "failed": seen.failed, "nanos": now() - began, "why": seen.why}

    async def hand_over(self, **_):
        return {}


async def turns(began, end, task, tasks, per_second):
    """Turns of one task at a fixed rate; one that is late goes at once."""
    every = 1_000_000_000 * tasks // max(1, per_second)
    turn = began + every * task // tasks
    while turn < end:
        wait = turn - now()
        if wait > 0:
            await asyncio.sleep(wait / 1e9)
        turn += every
        if now() >= end:
            return
        yield


def read_sequence(path):
    keys = array.array("I")
    with open(path, "rb") as file:
        keys.frombytes(file.read())
    return keys


async def main():
    node, loop = Node(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            answer = await getattr(node, command.pop("do"))(**command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
