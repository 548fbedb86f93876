"""Threads that do one kind of work each, whenever it is due, until they are stopped."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from huggingface_hub import HfApi

from mat_vis_hub._internal import clock


class Job(NamedTuple):
    """
    One kind of work.

    Args:
        name (`str`): The thread's name.
        prepare (`Callable`): Called without the lock before each look whether the work is due.
        is_due (`Callable`): Whether to work now. Called with the lock.
        due_in (`Callable`): Seconds until that may change by itself, or `None`. Called with the lock.
        work (`Callable`): Does it. Called without the lock.
    """

    name: str
    prepare: Callable[[], object]
    is_due: Callable[[], bool]
    due_in: Callable[[], float | None]
    work: Callable[[], object]


class Background:
    """
    Runs jobs in threads. After a failure all of them pause until it has been raised.

    Args:
        changed (`threading.Condition`): Notified whenever work may have become due.
        jobs (`Sequence` of `Job`): What to do.
    """

    def __init__(self, changed: threading.Condition, jobs: Sequence[Job]) -> None:
        self._changed = changed
        self._failure: BaseException | None = None
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, args=(job,), name=f"mat_vis_hub-{job.name}", daemon=True) for job in jobs
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the threads exist. In a forked process they do not."""
        return all(thread.is_alive() for thread in self._threads)

    def raise_failure(self) -> None:
        """Raise what a job has raised, once. Then the jobs go on."""
        with self._changed:
            failure, self._failure = self._failure, None
            self._changed.notify_all()
        if failure is not None:
            raise failure

    def stop(self, abort: Callable[[], object], *, now: bool) -> None:
        """
        Let the jobs end, and wait until they have.

        Args:
            abort (`Callable`): Called to end waits early: `now`, or if waiting for the threads is interrupted.
            now (`bool`): Whether to call it at once.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if now:
            abort()
        try:
            self._join()
        except BaseException:
            abort()
            self._join()
            raise

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, job: Job) -> None:
        while True:
            job.prepare()
            with self._changed:
                if not self._stopping and (self._failure is not None or not job.is_due()):
                    self._changed.wait(job.due_in() if clock.current.is_real else None)
                    continue
                if self._stopping:
                    return
            try:
                job.work()
            except BaseException as error:
                with self._changed:
                    self._failure = error
            with self._changed:
                self._changed.notify_all()


def with_own_waits(api: HfApi) -> HfApi:
    """The same object with waits of its own, which end with those of `api` but can also be called off alone."""
    waits = getattr(api, "waits", None)
    if waits is None:
        return api
    twin = copy.copy(api)
    twin.waits = waits.child()  # type: ignore[attr-defined]  # a ThrottledHfApi
    return twin
