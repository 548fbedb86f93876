"""A long wait is shown: a countdown where a person watches, a heartbeat every five minutes elsewhere."""

from __future__ import annotations

import io
import os
import re
import threading
from contextlib import redirect_stderr

import nbformat
import pytest
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars, tqdm
from nbclient import NotebookClient

from mat_vis_hub import WaitCancelled
from mat_vis_hub._internal import clock, interrupt, progress

LABEL = "you/textures: 128 of 128 commits are used"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((40, 25)))
    return Terminal()


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


class InstantClock(clock.Clock):
    """Real time as far as the package can tell, except that waits take none."""

    def wait(self, seconds, *, owner=None, tick=None, every=float("inf")):
        while seconds > 0:
            if tick is not None:
                tick(seconds)
            seconds -= every


@pytest.fixture
def instant(monkeypatch) -> None:
    monkeypatch.setattr(clock, "current", InstantClock())


@pytest.fixture(autouse=True)
def no_heartbeat_before(monkeypatch):
    monkeypatch.setattr(progress._shared.value, "last_heartbeat", (0, float("-inf")))


def wait(seconds: float, stderr: io.StringIO | None = None, label: str = LABEL) -> list[float]:
    """The heartbeats of a wait, while standard error is `stderr`."""
    heartbeats: list[float] = []
    with redirect_stderr(stderr):
        progress.wait(seconds, label=label, heartbeat=heartbeats.append)
    return heartbeats


class TestHeartbeat:
    def test_every_five_minutes_but_not_at_the_beginning(self, slept):
        assert wait(1000, io.StringIO()) == [700, 400, 100]
        assert slept == [300, 300, 300, 100]

    def test_none_in_a_short_wait_which_is_one_sleep(self, slept):
        assert wait(300) == []
        assert slept == [300]

    def test_none_and_no_bar_in_a_very_short_wait(self, slept, instant, terminal):
        assert wait(4.9, terminal) == []
        assert terminal.getvalue() == ""

    def test_each_of_several_waits_in_a_row_has_its_own(self, slept):
        assert [wait(400), wait(400), wait(400)] == [[100], [100], [100]]

    def test_threads_that_wait_together_have_one(self, instant):
        heartbeats: list[float] = []
        all_have_waited = threading.Barrier(4)

        def run() -> None:
            progress.wait(1000, label=LABEL, heartbeat=heartbeats.append)
            all_have_waited.wait(60)

        threads = [threading.Thread(target=run) for _ in range(4)]
        with redirect_stderr(None):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(heartbeats) == 3

    def test_a_terminal_has_them_where_bars_are_disabled(self, instant, terminal):
        disable_progress_bars()
        try:
            assert wait(700, terminal) == [400, 100]
        finally:
            enable_progress_bars()
        assert terminal.getvalue() == ""

    def test_a_terminal_has_them_where_a_test_patches_sleep(self, slept, terminal):
        assert wait(700, terminal) == [400, 100]
        assert slept == [300, 300, 100]

    def test_standard_error_that_is_missing_or_closed_does_not_matter(self, instant):
        closed = io.StringIO()
        closed.close()
        assert wait(700, closed) == wait(700, None) == [400, 100]

    def test_the_owner_can_call_the_wait_off(self, slept):
        owner = object()
        with pytest.raises(WaitCancelled):
            progress.wait(700, label=LABEL, heartbeat=lambda _: interrupt.cancel(owner), owner=owner)


@pytest.mark.usefixtures("progress_bars")
class TestBar:
    def frames(self, terminal: Terminal) -> list[str]:
        return [frame.rstrip() for frame in terminal.getvalue().split("\r") if frame.strip()]

    def test_counts_down_and_says_why(self, instant, terminal):
        assert wait(2669, terminal) == []
        frames = self.frames(terminal)
        assert frames[0].startswith("44:29 ")
        assert "you/textures: 128 of" in frames[0]
        times = [int(m) * 60 + int(s) for m, s in re.findall(r"^(\d+):(\d\d) ", "\n".join(frames), re.MULTILINE)]
        assert len(times) == len(frames)
        assert times == sorted(times, reverse=True)
        assert times[-1] < 60

    def test_fits_forty_columns(self, instant, terminal):
        wait(3723, terminal)
        frames = self.frames(terminal)
        assert frames[0].startswith("1:02:03 ")
        assert max(map(len, frames)) <= 40

    def test_empties(self, instant, terminal):
        wait(100, terminal)
        frames = self.frames(terminal)
        assert frames[0].count("█") == 10
        assert frames[-1].count("█") <= 1

    def test_leaves_nothing_behind(self, instant, terminal):
        wait(100, terminal)
        assert terminal.getvalue().split("\r")[-2].strip() == ""
        assert "\n" not in terminal.getvalue()

    def test_one_at_a_time(self, instant, terminal):
        with progress._shared.value.bar_is_free:
            wait(100, terminal)
        assert terminal.getvalue() == ""
        wait(100, terminal)
        assert terminal.getvalue() != ""

    def test_a_label_with_braces_or_line_breaks_is_shown_as_it_is_on_one_line(self, instant, terminal):
        wait(60, terminal, label="{n}\n{bar}")
        assert self.frames(terminal)[0].endswith(" {n} {bar}")

    def test_a_terminal_that_breaks_does_not_end_the_wait(self, instant, terminal, monkeypatch):
        monkeypatch.setattr(terminal, "write", lambda text: 1 / 0)
        assert wait(60, terminal) == []
        assert progress._shared.value.bar_is_free.acquire(blocking=False)
        progress._shared.value.bar_is_free.release()

    def test_a_terminal_that_breaks_does_not_lock_the_bars_of_other_threads(self, instant, terminal, monkeypatch):
        """tqdm has one lock for all bars, and an upload in another thread would wait for it for ever."""
        monkeypatch.setattr(terminal, "write", lambda text: 1 / 0)
        wait(60, terminal)

        def show_a_bar() -> None:
            with tqdm.get_lock():
                pass

        thread = threading.Thread(target=show_a_bar, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()


def test_a_notebook_shows_the_same_and_keeps_nothing_when_it_is_saved():
    code = f"""
from mat_vis_hub._internal import clock, progress
from IPython.display import DisplayHandle

shown = []
update = DisplayHandle.update
def recorded(handle, data, **options):
    shown.append(data["text/plain"])
    update(handle, data, **options)
DisplayHandle.update = recorded

class InstantClock(clock.Clock):
    def wait(self, seconds, *, owner=None, tick=None, every=None):
        while seconds > 0:
            tick(seconds)
            seconds -= every

clock.current = InstantClock()
progress.wait(2669, label={LABEL!r}, heartbeat=print)
assert shown[0] == "44:29 ██████████ {LABEL}", shown[0]
assert shown[-2] == "0:01 █░░░░░░░░░ {LABEL}", shown[-2]
"""
    loading = "from huggingface_hub import utils; utils.tqdm"  # warns if there are no widgets
    cells = [nbformat.v4.new_code_cell(source) for source in (loading, code)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    # A busy machine takes more than the default of four seconds to deliver 2,669 updates.
    NotebookClient(notebook, timeout=120, iopub_timeout=120, kernel_name="python3").execute()
    nbformat.validate(notebook)
    (output,) = notebook.cells[1].outputs
    assert output["data"] == {"text/plain": ""}
