"""The README's examples run unchanged, and its figures agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mat_vis_hub import RetryPolicy
from mat_vis_hub.testing import virtual_time

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


SCRIPTS = [block for block in blocks("python") if "def test_" not in block]
TESTS = [block for block in blocks("python") if "def test_" in block]


@pytest.mark.parametrize("example", SCRIPTS, ids=range(len(SCRIPTS)))
def test_the_examples_run(example, local_hub, capsys):
    local_hub.answer(429, headers={"Retry-After": "3600"}, on="commit")
    with virtual_time() as time:
        exec(compile(example, "README.md", "exec"), {})
        if "create_repo" in example:
            assert local_hub.commits
            assert len(local_hub.refusals) == 1
            assert time.now() >= 3600
            line = r"bake_throttle source=ambientcg retry=1/\d+ reason=429 wait_s=360\d\.\d elapsed=0m0s"
            assert re.fullmatch(line, capsys.readouterr().out.splitlines()[0])


def test_the_example_of_a_test_passes(pytester):
    pytester.makepyfile(*TESTS)
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=len(TESTS))


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_each_command_is_one_line(heading):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) == 1


def test_the_table_of_the_policy_has_its_defaults():
    for name in ("max_retries", "backoff_floor", "backoff_ceiling", "jitter", "max_total_wait"):
        (row,) = [line for line in README.splitlines() if line.startswith("|") and f"`{name}`" in line]
        names, values = (re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:3])
        assert float(values[names.index(name)]) == getattr(RetryPolicy(), name)


def test_the_printed_lines_match_the_documented_pattern():
    (pattern,) = [block.strip() for block in blocks("text") if block.startswith("^bake_throttle")]
    lines = [line for block in blocks("text") for line in block.splitlines() if line.startswith("bake_throttle")]
    assert lines
    for line in lines:
        assert re.match(pattern, line)


def test_the_links_lead_to_files():
    root = Path(__file__).parent.parent
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (root / link).is_file()] == []
