"""One Ctrl-C ends a process whose threads wait; without one, the waits of background threads go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process")

BEGIN = """
import asyncio, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from mat_vis_hub import WaitCancelled
from mat_vis_hub._internal import clock

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with it ignored
waiting = []

def say(word):
    sys.stdout.write(word + chr(10))
    sys.stdout.flush()

def wait(seconds=3600):
    try:
        clock.wait(seconds, tick=waiting.append)
        say("ended")
    except WaitCancelled:
        say("cancelled")

def names(frame):
    return [frame.f_code.co_name, *names(frame.f_back)] if frame else []

def report(threads):
    # Says "ready" once so many threads wait and the main thread is blocked, too.
    main = threading.main_thread().ident
    while True:
        before = sys._current_frames()[main]
        line = before.f_lasti
        threading.Event().wait(0.05)
        after = sys._current_frames()[main]
        if len(waiting) >= threads and after is before and after.f_lasti == line and "start" not in names(after):
            return say("ready")
"""

# A pool that nobody closes is joined when the interpreter ends. `HfApi.run_as_future` has one, too.
FUTURE = "pool = ThreadPoolExecutor(1); pool.submit(wait).result()"
RUN_AS_FUTURE = "from huggingface_hub import HfApi; HfApi().run_as_future(wait).result()"
POOL = """
with ThreadPoolExecutor(4) as pool:
    list(pool.map(wait, [3600] * 20))
"""
TO_THREAD = "asyncio.run(asyncio.to_thread(wait))"
THREADS = """
threads = [threading.Thread(target=wait) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
EXIT_IN_POOL = """
with ThreadPoolExecutor(1) as pool:
    future = pool.submit(wait)
    try:
        future.result()
    except KeyboardInterrupt:
        sys.exit(3)
"""


def start(program: str) -> subprocess.Popen[str]:
    code = [sys.executable, "-W", "ignore", "-c", BEGIN + textwrap.dedent(program)]
    return subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def after_one_ctrl_c(program: str, waiting: int = 1) -> tuple[str, str, int]:
    """What a process prints and returns that gets SIGINT once `waiting` of its threads wait."""
    reporter = f"threading.Thread(target=report, args=({waiting},), daemon=True).start()\n"
    with start(reporter + textwrap.dedent(program)) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return out, err, process.returncode


@pytest.mark.parametrize(
    ("program", "waiting", "cancelled"),
    [
        (FUTURE, 1, 1),
        (RUN_AS_FUTURE, 1, 1),
        (POOL, 4, 4),
        (TO_THREAD, 1, 1),
        (THREADS, 3, 2),  # Python before 3.13 ends without the thread whose `join` was interrupted
    ],
    ids=["a pool", "run_as_future", "a pool in a with", "asyncio.to_thread", "threads"],
)
def test_one_ctrl_c_ends_the_process(program, waiting, cancelled):
    out, err, _ = after_one_ctrl_c(program, waiting)
    assert set(out.split()) == {"cancelled"}
    assert len(out.split()) >= cancelled
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "WaitCancelled" not in err


def test_one_ctrl_c_ends_a_pool_whose_block_turns_it_into_another_exit():
    out, err, returncode = after_one_ctrl_c(EXIT_IN_POOL)
    assert (out, err, returncode) == ("cancelled\n", "", 3)


def test_ctrl_c_ends_a_wait_of_the_main_thread_at_once():
    out, _, _ = after_one_ctrl_c("try: wait()\nexcept KeyboardInterrupt: print('interrupted')")
    assert out == "interrupted\n"


@pytest.mark.parametrize(
    "program",
    ["pool = ThreadPoolExecutor(1); pool.submit(wait, 0.5)", "threading.Thread(target=wait, args=(0.5,)).start()"],
    ids=["run_as_future", "thread"],
)
def test_a_main_thread_that_simply_ends_lets_the_waits_go_on(program):
    with start(program) as process:
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("ended\n", "", 0)


def test_a_ctrl_c_that_the_program_handles_lets_the_waits_go_on():
    program = """
    threading.Thread(target=wait, args=(1,)).start()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("handled", flush=True)
        threading.Event().wait(0.5)
    """
    out, err, returncode = after_one_ctrl_c(program)
    assert (sorted(out.split()), err, returncode) == (["ended", "handled"], "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_without_the_waits_of_its_parent():
    program = """
    import os
    from mat_vis_hub._internal import interrupt
    owner = object()
    thread = threading.Thread(target=clock.wait, args=(3600,), kwargs={"owner": owner}, daemon=True)
    thread.start()
    while not interrupt._registry.value.waits(): pass
    if (child := os.fork()) == 0:
        assert interrupt._registry.value.waits() == []
        later = threading.Timer(0.1, interrupt.cancel, (owner,))
        later.start()
        try: clock.wait(3600, owner=owner)
        except WaitCancelled: print("cancelled", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert thread.is_alive()
    """
    with start(program) as process:
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("cancelled\n", "", 0)
