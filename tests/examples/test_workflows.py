"""The workflows are valid, and their jobs queue as the headers say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mat_vis_hub import ThrottledHfApi

pytest.importorskip("check_jsonschema", reason="check-jsonschema ships the schema of GitHub workflows")
yaml = pytest.importorskip("yaml", reason="PyYAML comes with check-jsonschema")

WORKFLOWS = sorted((Path(__file__).parents[2] / "examples" / "workflows").glob("*.yml"))


def load(path):
    return yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # BaseLoader keeps the key `on` a string


def test_there_are_two_workflows():
    assert [path.name for path in WORKFLOWS] == ["bake.yml", "derive.yml"]


def test_both_are_valid():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


SIDE_BY_SIDE = "inputs.writers == 'side by side' && "


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_all_writers_of_a_repository_queue_in_one_group_by_default(path):
    workflow = load(path)
    [job] = workflow["jobs"].values()
    assert job["concurrency"] == {
        "group": "${{ inputs.repo }}-budget${{ " + SIDE_BY_SIDE + "format('-{0}', matrix.source) || '' }}",
        "cancel-in-progress": "false",
        "queue": "max",
    }
    writers = workflow["on"]["workflow_dispatch"]["inputs"]["writers"]
    assert (writers["default"], writers["options"]) == ("one at a time", ["one at a time", "side by side"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_side_by_side_they_share_a_budget(path):
    [job] = load(path)["jobs"].values()
    [budget] = [step["env"]["MAT_VIS_HUB_BUDGET"] for step in job["steps"] if "env" in step]
    assert budget == "${{ " + SIDE_BY_SIDE + "(secrets.MAT_VIS_HUB_BUDGET || 'hub://') || '' }}"


@pytest.mark.parametrize("url", re.findall(r"hub://[\w?=&]*", WORKFLOWS[0].read_text()))
def test_the_budgets_in_the_header_are_valid(url):
    ThrottledHfApi(budget=url)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_matrix_contains_all_sources(path):
    photographs = pytest.importorskip("baking.photographs", reason="it lists the sources")
    [job] = load(path)["jobs"].values()
    assert job["strategy"]["matrix"] == {"source": list(photographs.SOURCES)}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_typed_inputs_reach_the_shell_as_environment_variables(path):
    """An input inside a command would be executed. The only exception is a flag, which is a checkbox."""
    [job] = load(path)["jobs"].values()
    for step in job["steps"]:
        expressions = step.get("run", "").replace("${{ inputs.allow-prod && '--allow-prod' || '' }}", "")
        assert "${{" not in expressions
