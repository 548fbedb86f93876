"""Many real processes at once. They are forked from one that has loaded everything, and start together."""

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
    """Call `work(number, begin)` in each of `count` processes. `begin` returns when all have called it."""
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
        return [receiver.recv() for receiver, _ in ends]  # EOFError: that process died, and printed why
    finally:
        for process in processes:
            process.join(timeout=5)
            process.kill()


def _run(work: Callable[[int, Callable[[], Any]], Any], number: int, barrier: Barrier, sender: Connection) -> None:
    try:
        sender.send(work(number, barrier.wait))
    except BaseException:
        barrier.abort()  # else the others would wait for this one
        raise


@dataclass
class Saturated:
    """The result of processes that make a budget decide without a pause."""

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
        """The time per decision of the slowest process, over the median process's."""
        return statistics.median(self.counts) / min(self.counts)


def saturate(url: str, here: Repository, processes: int, seconds: float) -> Saturated:
    """Reserve and cancel as fast as possible."""

    def decide(_: int, begin: Callable[[], Any]) -> tuple[list[float], int, float]:
        budget, failed = from_url(url), 0
        budget.cancel(here, budget.reserve(here))  # this connects
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
    """The result of processes that commit to a Hub on this machine."""

    refusals: int
    done: list[float]  # seconds until each had landed all its commits

    @property
    def slowest(self) -> float:
        return max(self.done) / statistics.median(self.done)


def fleet(url: str, processes: int, commits: int, limit: int, window: float) -> Fleet:
    """Send `commits` over HTTP, an equal part from each process."""

    def write(number: int, begin: Callable[[], Any]) -> tuple[int, float]:
        events: list[Any] = []
        api = ThrottledHfApi(
            endpoint, token="hf_local", budget=f"{url}?limit={limit}&window={window}", hooks=[events.append]
        )
        api.list_repo_refs(REPO)  # this connects
        begin()
        began = time.monotonic()
        for commit in range(commits // processes):
            api.create_commit(REPO, operations(str(number), commit), commit_message="Add a file")
        return sum(isinstance(event, ThrottleEvent) for event in events), time.monotonic() - began

    with local_hub("--limit", str(limit), "--window", str(window)) as endpoint:
        HfApi(endpoint, token="hf_local").create_repo(REPO)
        parts = together(processes, write)
    return Fleet(sum(refusals for refusals, _ in parts), [done for _, done in parts])


@contextmanager
def local_hub(*options: str) -> Iterator[str]:
    """Start a local Hub in a process of its own, with these options and without API limit, and yield its URL."""
    command = [sys.executable, "-m", "mat_vis_hub.local_hub", "--api-limit", "none", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
