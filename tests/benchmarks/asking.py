"""Asking a teacher through the reply store, against the teacher alone and against the bare client library.

A toy endpoint (tests/endpoint.py, here in a process of its own) answers at once: requests per second, aim 1,000 on
two cores. Then it takes 200 ms for each: what the store costs there, aim 5 %. Then the store alone. Prints figures and
ratios of paired rounds; equal replies are asserted, speeds are not.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from endpoint import answer_to, endpoint  # noqa: E402

from exabench.core.nouns import Prompt, Reply  # noqa: E402
from exabench.parts.replies import CachedTeacher, Replies  # noqa: E402
from exabench.parts.teachers import TEACHERS  # noqa: E402

FAST, SLOW, ROUNDS, CONCURRENCY = 2000, 640, 3, 64
WORDS = "word " * 100


def prompts(count: int, tag: str) -> Iterator[Prompt]:
    return (Prompt(f"{tag}{i}", (("system", "Answer."), ("user", f"{WORDS}{tag} {i}")), 64) for i in range(count))


class Rate(NamedTuple):
    """Requests per second, and the processor time of this process for each, in milliseconds (all its threads)."""

    rate: float
    cpu: float


def timed(complete: Callable[[Iterable[Prompt]], Iterable[Reply]], count: int, tag: str) -> Rate:
    """How fast, every reply looked at."""
    start, cpu = time.perf_counter(), time.process_time()
    replies = {reply.id: reply.text for reply in complete(prompts(count, tag))}
    rate = Rate(count / (time.perf_counter() - start), 1000 * (time.process_time() - cpu) / count)
    assert replies == {one.id: answer_to(one.turns[1][1]) for one in prompts(count, tag)}
    return rate


def bare_library(url: str, count: int) -> Rate:
    """The openai package alone, so many requests at a time, one task for each connection."""
    from openai import AsyncOpenAI

    async def ask() -> Rate:
        source = prompts(count, "bare")
        async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:

            async def worker() -> None:
                for one in source:
                    messages: Any = [{"role": role, "content": text} for role, text in one.turns]
                    await client.chat.completions.create(model="m", messages=messages, max_tokens=64, temperature=0.0)

            start, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
            return Rate(count / (time.perf_counter() - start), 1000 * (time.process_time() - cpu) / count)

    return asyncio.run(ask())


def serve(delay: float, urls: Any) -> None:
    with endpoint(delay=delay) as server:
        urls.put(server.url)
        threading.Event().wait()


@contextmanager
def served(delay: float) -> Iterator[str]:
    """The address of an endpoint in a process of its own, so that it takes no time of this one."""
    urls: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(delay, urls))
    process.start()
    try:
        yield urls.get()
    finally:
        process.kill()


def against_the_engine(folder: Path, count: int, delay: float) -> None:
    """Rounds of the teacher alone and of the teacher behind a new store."""
    alone, through = [], []
    with served(delay) as url:
        teacher = TEACHERS["openai"]("m", base_url=url, concurrency=CONCURRENCY)
        timed(teacher.complete, CONCURRENCY, "warm")
        for number in range(ROUNDS):
            alone.append(timed(teacher.complete, count, f"a{number}"))
            store = Replies(folder / f"{delay}-{number}.sqlite")
            through.append(timed(CachedTeacher(teacher, store).complete, count, f"b{number}"))
            store.close()
        library = None if delay else bare_library(url, count // 4)
    ratio = statistics.median(b.rate / a.rate for a, b in zip(alone, through, strict=True))
    print(
        f"answers after {delay * 1000:.0f} ms, {CONCURRENCY} in flight: through the store {ratio:.3f} of the rate alone"
    )
    said("through the store", through)
    said("the teacher alone", alone)
    if library:
        said("the openai package alone", [library])


def said(what: str, rounds: Sequence[Rate]) -> None:
    """The medians of some rounds."""
    rate, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
    print(f"  {what}: {rate:.0f} requests/s, {cpu:.2f} ms of processor time each")


class Instant:
    """An engine that takes no time."""

    identity, config = {"engine": "instant", "model": "m", "revision": "r"}, None

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        return (Reply(one.id, answer_to(one.turns[1][1]), "stop", 9, 9) for one in prompts)


def store_alone(folder: Path, count: int = 20_000) -> None:
    """Calls per second kept, found, written out and taken in, and the memory it took."""
    store, other = Replies(folder / "one.sqlite"), Replies(folder / "other.sqlite")
    teacher = CachedTeacher(Instant(), store)
    kept, found = (timed(teacher.complete, count, "i") for _ in range(2))
    start = time.perf_counter()
    store.export((teacher.key(one) for one in prompts(count, "i")), folder / "x.parquet")
    out = count / (time.perf_counter() - start)
    start = time.perf_counter()
    assert other.take_in(folder / "x.parquet") == count
    taken = count / (time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"calls/s: {kept.rate:.0f} kept, {found.rate:.0f} found, {out:.0f} exported, {taken:.0f} taken in")
    print(f"peak memory: {peak:.0f} MiB")


def main() -> int:
    """Everything, in about a minute."""
    with tempfile.TemporaryDirectory() as folder:
        against_the_engine(Path(folder), FAST, 0.0)
        against_the_engine(Path(folder), SLOW, 0.2)
        store_alone(Path(folder))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
