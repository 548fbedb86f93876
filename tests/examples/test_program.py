"""The arguments that bake and derive share, and their error messages."""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("skimage", reason="the examples compute textures with scikit-image")

import bake
import derive

TIERS = {bake: ("--tier", "256"), derive: ("--from-tier", "256", "--tier", "128")}
both = pytest.mark.parametrize("module", [bake, derive], ids=["bake", "derive"])


@both
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repo", "me/mat-vis"], "me/mat-vis is not named like a scratch repository .*--allow-prod"),
        (["--repo", "mat-vis-tst"], "'mat-vis-tst' has no owner; expected OWNER/NAME"),
        (["--repo", "me/mat vis-tst"], "Repo id must"),
        (["--release", "v1/../../x"], "'v1/../../x' may contain letters"),
        (["--source", "am bient"], "'am bient' may contain letters"),
        (["--tier", "257"], "no tier '257'; the tiers are 8k, "),
        (["--limit", "0"], "'0' is not a positive number"),
        (["--batch-size", "many"], "'many' is not a positive number"),
        (["--speed", "11"], "unrecognized arguments: --speed 11"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line_with_exit_code_2(program, module, arguments, message):
    outcome = program(module, *TIERS[module], *arguments)
    assert outcome.code == 2
    assert outcome.out == []
    assert re.fullmatch(rf"[^\n]*{message}[^\n]*\n", outcome.err)


@pytest.mark.parametrize(("module", "project"), [("skimage", "scikit-image"), ("PIL", "Pillow"), ("numpy", "numpy")])
def test_a_missing_extra_is_reported_with_the_command_that_installs_it(module, project):
    hide_and_run = (
        "import runpy, sys; sys.modules[sys.argv[1]] = None; runpy.run_path(sys.argv[2], run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", hide_and_run, module, bake.__file__],
        env={**os.environ, "PYTHONPATH": os.path.dirname(bake.__file__)},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert result.stderr == f'Computing textures needs {project}: pip install "mat-vis-hub[examples]"\n'


@both
def test_help_shows_the_description_and_all_options(program, module):
    outcome = program(module, "--help")
    assert outcome.code == 0
    text = "\n".join(outcome.out)
    assert module.__doc__.splitlines()[0] in text
    for option in (
        "--repo",
        "--release",
        "--source",
        "--tier",
        "--limit",
        "--batch-size",
        "--endpoint",
        "--allow-prod",
    ):
        assert option in text


def test_a_repository_not_named_like_a_scratch_one_needs_a_flag(program, local_hub):
    arguments = ("--repo", "me/mat-vis", "--tier", "128", "--limit", "1")
    assert program(bake, *arguments).code == 2
    assert local_hub.commits == []
    assert program(bake, *arguments, "--allow-prod").code == 0
    assert {commit.repo for commit in local_hub.commits} == {"me/mat-vis"}


@pytest.mark.local_hub(token="hf_right")
def test_a_wrong_token_is_reported_in_one_line(program, local_hub):
    outcome = program(bake, "--tier", "128", "--limit", "1")
    assert outcome.code == 1
    assert re.fullmatch(
        rf"[^\n]*: me/mat-vis-tst at {local_hub.url}: 401 [^\n]*; set HF_TOKEN to [^\n]*\n", outcome.err
    )


@pytest.mark.local_hub(owners=("someone-else",))
def test_another_owners_repository_is_reported_in_one_line(program, local_hub):
    outcome = program(bake, "--tier", "128", "--limit", "1")
    assert outcome.code == 1
    assert re.fullmatch(r"[^\n]*: 403 [^\n]*; set HF_TOKEN to [^\n]*\n", outcome.err)


def test_an_unreadable_manifest_is_reported_in_one_line(program, local_hub):
    """huggingface_hub reports a missing cache entry; the line must name the Hub's response instead."""
    local_hub.answer(403, body={"error": "no reading"}, on="resolve", times=100)
    outcome = program(bake, "--tier", "128", "--limit", "1")
    assert outcome.code == 1
    assert re.search(r": me/mat-vis-tst at [^\n]*: 403 [^\n]*; set HF_TOKEN to [^\n]*\n$", outcome.err)


def test_an_unreachable_endpoint_is_reported_in_one_line(program, local_hub):
    url = local_hub.url
    local_hub.stop()
    outcome = program(bake, "--tier", "128", "--limit", "1", "--endpoint", url)
    assert outcome.code == 1
    assert re.fullmatch(rf"[^\n]*: me/mat-vis-tst at {url}: [^\n]*refused[^\n]*\n", outcome.err)


def test_an_unknown_budget_is_reported_in_one_line(program, monkeypatch):
    monkeypatch.setenv("MAT_VIS_HUB_BUDGET", "abacus://desk")
    outcome = program(bake, "--tier", "128", "--limit", "1")
    assert outcome.code == 1
    assert re.fullmatch(r"[^\n]*: MAT_VIS_HUB_BUDGET: [^\n]*scheme abacus[^\n]*\n", outcome.err)


def test_a_hub_that_accepts_no_commit_is_reported_in_one_line_after_all_retries(program, local_hub, time):
    local_hub.answer(429, body={"error": "You have exceeded the rate limit."}, on="commit", times=6)
    outcome = program(bake, "--tier", "128", "--limit", "1")
    assert outcome.code == 1
    assert len(outcome.lines("bake_throttle")) == len(time.waits) == 5
    assert re.search(
        r": 429 You have exceeded the rate limit\.; the Hub accepts no more commits .* resumes\n$", outcome.err
    )


def test_ctrl_c_prints_no_traceback(program, local_hub, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("baking.photographs.render", interrupt)
    outcome = program(bake, "--tier", "128", "--limit", "1")
    assert outcome.code == 130
    assert outcome.err.endswith("interrupted; run the same command again, it resumes\n")


@pytest.mark.local_hub(limit=None)
def test_plain_hfapi_does_the_same_work_without_refusals(program, local_hub, monkeypatch):
    monkeypatch.setenv("MAT_VIS_PLAIN_HFAPI", "1")
    assert program(bake, "--tier", "256", "--limit", "2").code == 0
    assert program(derive, *TIERS[derive]).code == 0
