"""Many real processes at once: forked from one that has loaded everything, and begun together."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

from huggingface_hub import HfApi

from benchmarks.contenders import operations
from benchmarks.simulation import REPO
from mat_vis_hub import ThrottledHfApi
from mat_vis_hub.budget import BudgetError, Repository, from_url
from mat_vis_hub.events import ThrottleEvent

T = TypeVar("T")

_fork = multiprocessing.get_context("fork")


def together(count: int, work: Callable[[int, Callable[[], Any]], T]) -> list[T]:
    """What each of so many processes makes of `work(number, begin)`; `begin` returns once all have called it."""
    barrier = _fork.Barrier(count)
    ends = [_fork.Pipe(duplex=False) for _ in range(count)]
    processes = [
        _fork.Process(target=_run, args=(work, number, barrier, sender)) for number, (_, sender) in enumerate(ends)
    ]
    for process in processes:
        process.start()
    for _, sender in ends:
        sender.close()
    try:
        return [receiver.recv() for receiver, _ in ends]  # EOFError: that one has died, and said why
    finally:
        for process in processes:
            process.join(timeout=5)
            process.kill()


def _run(work: Callable[[int, Callable[[], Any]], Any], number: int, barrier: Barrier, sender: Connection) -> None:
    try:
        sender.send(work(number, barrier.wait))
    except BaseException:
        barrier.abort()  # nobody waits for this one
        raise


@dataclass
class Saturated:
    """What so many processes got out of a budget in which they decided without a pause."""

    seconds: float
    latencies: list[float]  # of each decision, sorted
    counts: list[int]  # of decisions, by process
    failed: int
    cpu: float

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def slowest(self) -> float:
        """The slowest process's time for a decision over the median one's."""
        return statistics.median(self.counts) / min(self.counts)


def saturate(url: str, here: Repository, processes: int, seconds: float) -> Saturated:
    """Reserve and cancel as fast as possible."""

    def decide(_: int, begin: Callable[[], Any]) -> tuple[list[float], int, float]:
        budget, failed = from_url(url), 0
        budget.cancel(here, budget.reserve(here))  # connected
        latencies: list[float] = []
        begin()
        cpu, end = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                reservation = budget.reserve(here)
                reserved = time.perf_counter()
                budget.cancel(here, reservation)
            except BudgetError:
                failed += 1
            else:
                latencies += (reserved - began, time.perf_counter() - reserved)
        return latencies, failed, time.process_time() - cpu

    parts = together(processes, decide)
    latencies = sorted(latency for each, _, _ in parts for latency in each)
    counts = [max(1, len(each)) for each, _, _ in parts]
    return Saturated(seconds, latencies, counts, sum(failed for _, failed, _ in parts), sum(cpu for *_, cpu in parts))


@dataclass
class Fleet:
    """What came of so many processes that committed to a Hub on this machine."""

    refusals: int
    done: list[float]  # seconds until each had landed all its commits

    @property
    def slowest(self) -> float:
        return max(self.done) / statistics.median(self.done)


def fleet(url: str, processes: int, commits: int, limit: int, window: float) -> Fleet:
    """All commits, shared evenly, over HTTP."""

    def write(number: int, begin: Callable[[], Any]) -> tuple[int, float]:
        told: list[Any] = []
        api = ThrottledHfApi(
            endpoint, token="hf_local", budget=f"{url}?limit={limit}&window={window}", hooks=[told.append]
        )
        api.list_repo_refs(REPO)  # connected
        begin()
        began = time.monotonic()
        for commit in range(commits // processes):
            api.create_commit(REPO, operations(str(number), commit), commit_message="Add a file")
        return sum(isinstance(event, ThrottleEvent) for event in told), time.monotonic() - began

    with local_hub("--limit", str(limit), "--window", str(window)) as endpoint:
        HfApi(endpoint, token="hf_local").create_repo(REPO)
        parts = together(processes, write)
    return Fleet(sum(refusals for refusals, _ in parts), [done for _, done in parts])


@contextmanager
def local_hub(*options: str) -> Iterator[str]:
    """In a process of its own, started with these options and no API limit; the URL."""
    command = [sys.executable, "-m", "mat_vis_hub.local_hub", "--api-limit", "none", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
