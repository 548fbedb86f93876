"""Threads that do work whenever it is due, and end with the batch."""

from __future__ import annotations

import threading

import pytest

from mat_vis_hub.commits.background import Background, Job


class Work:
    """Work that a test makes due, and that may fail."""

    def __init__(self, changed: threading.Condition) -> None:
        self.changed = changed
        self.due = 0
        self.done = 0
        self.error: Exception | None = None
        self.finished = threading.Semaphore(0)

    def make_due(self) -> None:
        with self.changed:
            self.due += 1
            self.changed.notify_all()

    def do(self) -> None:
        with self.changed:
            self.due -= 1
        try:
            if self.error is not None:
                raise self.error
            self.done += 1
        finally:
            self.finished.release()

    def wait(self) -> None:
        assert self.finished.acquire(timeout=60)

    @property
    def job(self) -> Job:
        return Job("test", lambda: None, lambda: self.due > 0, lambda: None, self.do)


@pytest.fixture
def work():
    return Work(threading.Condition())


@pytest.fixture
def background(work):
    background = Background(work.changed, [work.job])
    yield background
    background.stop(lambda: None, now=False)


def test_work_is_done_when_it_becomes_due(work, background):
    for _ in range(3):
        work.make_due()
        work.wait()
    assert work.done == 3


def test_a_failure_is_raised_once_and_pauses_the_work_until_then(work, background):
    work.error = OSError("broken")
    work.make_due()
    work.wait()
    work.error = None
    with work.changed:
        assert work.changed.wait_for(lambda: background._failure is not None, timeout=60)
    with pytest.raises(OSError, match="broken"):
        background.raise_failure()
    background.raise_failure()
    work.make_due()
    work.wait()
    assert work.done == 1


@pytest.fixture
def slow(work):
    """Background work that has begun, and the event that lets it end."""
    began, may_end = threading.Event(), threading.Event()

    def work_on() -> None:
        began.set()
        assert may_end.wait(timeout=60)

    job = Job("slow", lambda: None, lambda: not began.is_set(), lambda: None, work_on)
    background = Background(work.changed, [job])
    assert began.wait(timeout=60)
    return background, may_end


def test_stopping_waits_for_the_work_under_way_and_ends_the_threads(slow):
    background, may_end = slow
    background.stop(may_end.set, now=True)
    assert not background.is_running


def test_an_interruption_while_stopping_aborts_the_work(slow):
    background, may_end = slow
    (thread,) = background._threads
    join, calls = thread.join, []

    def interrupted_once() -> None:
        calls.append("join")
        if len(calls) == 1:
            raise KeyboardInterrupt
        join()

    thread.join = interrupted_once
    with pytest.raises(KeyboardInterrupt):
        background.stop(may_end.set, now=False)
    assert not background.is_running
