"""A wait is shown: a bar where a person looks on, a line every five minutes where a runner does, else nothing."""

from __future__ import annotations

import io
import re
import sys

import pytest
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from mat_vis_hub._internal import clock, progress
from mat_vis_hub.testing import virtual_time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def wait(seconds: float, *, since: float = 0.0) -> None:
    progress.wait_until(
        clock.monotonic() + seconds,
        what="source=ambientcg repo=you/textures reason=429",
        reason="you/textures: 429",
        since=since,
    )


def standard_error(monkeypatch, stream: io.StringIO) -> io.StringIO:
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_in_a_log_a_heartbeat_every_five_minutes(monkeypatch):
    log = standard_error(monkeypatch, io.StringIO())
    with virtual_time() as time:
        time.advance(60)
        wait(1000, since=0.0)
        assert time.waits == [1000.0]
    prefix = "bake_waiting source=ambientcg repo=you/textures reason=429 "
    assert log.getvalue().splitlines() == [
        prefix + "wait_s=700.0 elapsed=6m0s",
        prefix + "wait_s=400.0 elapsed=11m0s",
        prefix + "wait_s=100.0 elapsed=16m0s",
    ]


def test_in_a_log_a_short_wait_is_not_worth_a_line(monkeypatch):
    log = standard_error(monkeypatch, io.StringIO())
    with virtual_time():
        wait(299)
    assert log.getvalue() == ""


def test_in_a_log_many_waiting_threads_are_one_heartbeat(monkeypatch):
    log = standard_error(monkeypatch, io.StringIO())
    with virtual_time():
        threads = [progress._heartbeat(700, "source=a repo=b reason=429", 0.0) for _ in range(4)]
        for remaining in (700, 400, 100):
            for tick in threads:
                tick(remaining)
    assert len(log.getvalue().splitlines()) == 2


def test_on_a_terminal_a_bar_that_says_why(monkeypatch):
    terminal = standard_error(monkeypatch, Terminal())
    with virtual_time():
        wait(90)
    shown = terminal.getvalue()
    assert "you/textures: 429" in shown
    assert re.search(r"\b45/90 s", shown)
    assert "bake_waiting" not in shown


def test_on_a_terminal_a_few_seconds_need_no_bar(monkeypatch):
    terminal = standard_error(monkeypatch, Terminal())
    with virtual_time():
        wait(3)
    assert terminal.getvalue() == ""


def test_whoever_disables_huggingface_hub_s_bars_sees_heartbeats_instead(monkeypatch):
    terminal = standard_error(monkeypatch, Terminal())
    disable_progress_bars()
    try:
        with virtual_time():
            wait(700)
    finally:
        enable_progress_bars()
    assert [line.split()[0] for line in terminal.getvalue().splitlines()] == ["bake_waiting", "bake_waiting"]


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_standard_error_the_wait_goes_on(monkeypatch, stream):
    broken = io.StringIO()
    broken.close()
    monkeypatch.setattr(sys, "stderr", stream and broken)
    with virtual_time() as time:
        wait(1000)
        assert time.now() == 1000
