"""Real waits end when they should, tick while they last, and end at once on Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from mat_vis_hub._internal import clock


def test_reads_the_real_clocks():
    assert clock.monotonic() == pytest.approx(time.monotonic(), abs=1)
    assert clock.wall() == pytest.approx(time.time(), abs=1)


def test_waits_no_shorter_than_asked_and_ticks_with_what_remains():
    ticks = []
    deadline = clock.monotonic() + 0.05
    clock.wait_until(deadline, tick=ticks.append, every=0.01)
    assert clock.monotonic() >= deadline
    assert ticks == sorted(ticks, reverse=True)
    assert 2 <= len(ticks) <= 6


@pytest.mark.skipif(os.name == "nt", reason="sends itself SIGINT")
def test_ctrl_c_ends_a_wait_at_once():
    script = (
        "import signal\n"
        "from mat_vis_hub._internal import clock\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background begins with it ignored
        "try:\n"
        "    print('waiting', flush=True)\n"
        "    clock.wait_until(clock.monotonic() + 3600)\n"
        "except KeyboardInterrupt: print('ended')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert out == "ended\n"
