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
    """Run the command, and read the URL that it prints first."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(number):
    with running() as (process, url):
        assert url.startswith("http://127.0.0.1:")
        HfApi(endpoint=url, token="hf_local").create_repo("you/scratch")
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0


def test_its_options_are_the_arguments_of_localhub(tmp_path):
    options = "--limit none --window 6 --model sliding --api-limit 7 --api-window 9 --commit-time 0 --late 0.5"
    options += " --commit-timeout none --quota-scope owner --token hf_x --host localhost"
    with running(*options.split(), "--path", str(tmp_path)) as (_, url):
        assert url.startswith("http://localhost:")
        api = HfApi(endpoint=url, token="hf_x")
        api.create_repo("you/scratch")
        assert not HfApi(endpoint=url, token=False).repo_exists("you/none")
    assert list((tmp_path / "repos").iterdir())


def test_repositories_survive_a_killed_process(tmp_path):
    with running("--path", str(tmp_path)) as (_, url):
        HfApi(endpoint=url, token="hf_local").create_repo("you/scratch")
    with running("--path", str(tmp_path)) as (_, url):
        assert HfApi(endpoint=url, token="hf_local").list_repo_files("you/scratch") == [".gitattributes"]


def failed(*arguments, command=COMMAND):
    """The exit code and what was printed."""
    ran = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--window 0", "window is 0.0; it is a number of seconds above 0."),
        ("--window nan", "window is nan; it is a number of seconds above 0."),
        ("--window long", "argument --window: 'long' is not a number; see --help"),
        ("--limit x", "argument --limit: 'x' is neither a whole number nor \"none\"; see --help"),
        ("--limit -1", "limit is -1; it is a whole number, 0 or more, or None for no limit."),
        ("--port 99999", "port is 99999; it is a whole number from 0 to 65535."),
        ("--port -1", "port is -1; it is a whole number from 0 to 65535."),
        ("--port http", "argument --port: 'http' is not a whole number; see --help"),
        ("--model leaky", "argument --model: invalid choice: 'leaky' (choose from "),
        ("--prot 80", "unrecognized arguments: --prot 80; see --help"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(arguments, line):
    code, output = failed(*arguments.split())
    assert code == 2
    assert output.startswith(line)
    assert output.count("\n") == 1


def test_what_keeps_it_from_starting_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "damaged/repos/0123").mkdir(parents=True)
    (tmp_path / "damaged/repos/0123/repo.json").write_text("{")
    for arguments, line in [
        (["--host", "256.0.0.1"], "The local Hub cannot listen on 256.0.0.1:0 "),
        (["--path", str(tmp_path / "file")], f"directory: '{tmp_path / 'file/repos'}'"),
        (["--path", str(tmp_path / "damaged")], f"The repository in {tmp_path / 'damaged/repos/0123'} is damaged "),
    ]:
        code, output = failed(*arguments)
        assert code == 1
        assert line in output
        assert output.count("\n") == 1


def test_without_the_extra_it_says_what_to_install():
    program = """
import runpy, sys
sys.modules["uvicorn"] = None
runpy.run_module("mat_vis_hub.local_hub", run_name="__main__")
"""
    code, output = failed(command=[sys.executable, "-c", program])
    assert code == 1
    assert output == 'The local Hub needs Starlette, uvicorn and pathspec: pip install "mat-vis-hub[local]"\n'
