"""`python -m mat_vis_hub.local_hub`."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from huggingface_hub import HfApi

COMMAND = [sys.executable, "-m", "mat_vis_hub.local_hub"]


@contextmanager
def running(*arguments):
    """The process, and the URL that it printed first."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(number):
    with running() as (process, url):
        assert url.startswith("http://127.0.0.1:")
        HfApi(endpoint=url, token="hf_local").create_repo("you/scratch")
        process.send_signal(number)
        assert process.communicate(timeout=10) == ("", "")
        assert process.returncode == 0


def test_it_takes_the_arguments_of_a_hub(tmp_path):
    options = "--limit none --window 6 --model sliding --api-limit 7 --api-window 9 --token hf_x --host localhost"
    with running(*options.split(), "--path", str(tmp_path)) as (_, url):
        assert url.startswith("http://localhost:")
        api = HfApi(endpoint=url, token="hf_x")
        api.create_repo("you/scratch")
        assert not HfApi(endpoint=url, token=False).repo_exists("you/none")
    assert list((tmp_path / "repos").iterdir())


def test_a_killed_hub_leaves_its_repositories_to_the_next(tmp_path):
    with running("--path", str(tmp_path)) as (_, url):
        HfApi(endpoint=url, token="hf_local").create_repo("you/scratch")
    with running("--path", str(tmp_path)) as (_, url):
        assert HfApi(endpoint=url, token="hf_local").list_repo_files("you/scratch") == [".gitattributes"]


def refusal(*arguments, command=COMMAND):
    ran = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30)
    assert ran.returncode != 0
    return ran.stderr.strip().splitlines()[-1]


def test_arguments_that_make_no_sense_are_refused_in_a_line():
    assert refusal("--window", "0") == "window is 0.0; it is a number of seconds above 0."
    assert "invalid" in refusal("--limit", "many")


def test_without_the_extra_it_says_what_to_install():
    program = """
import runpy, sys
sys.modules["uvicorn"] = None
runpy.run_module("mat_vis_hub.local_hub", run_name="__main__")
"""
    said = refusal(command=[sys.executable, "-c", program])
    assert said == 'The local Hub needs Starlette and uvicorn: pip install "mat-vis-hub[local]"'
