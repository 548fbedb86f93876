"""The workflows validate against GitHub's schema, and queue as their headers say."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("check_jsonschema", reason="check-jsonschema ships the schema of GitHub workflows")
yaml = pytest.importorskip("yaml", reason="PyYAML comes with check-jsonschema")


WORKFLOWS = sorted((Path(__file__).parents[2] / "examples" / "workflows").glob("*.yml"))


def load(path):
    return yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # BaseLoader: `on` stays a word


def test_there_are_two():
    assert [path.name for path in WORKFLOWS] == ["bake.yml", "derive.yml"]


def test_both_validate_against_the_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_all_writers_of_a_repository_queue_in_one_group(path):
    [job] = load(path)["jobs"].values()
    assert job["concurrency"] == {
        "group": "${{ inputs.repo }}-budget",
        "cancel-in-progress": "false",
        "queue": "max",
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_matrix_runs_over_all_sources(path):
    photographs = pytest.importorskip("baking.photographs", reason="the sources are named there")
    [job] = load(path)["jobs"].values()
    assert job["strategy"]["matrix"] == {"source": list(photographs.SOURCES)}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_people_type_reaches_the_shell_as_a_variable(path):
    """An input in the text of a command would run as code; the one flag here is chosen, not typed."""
    [job] = load(path)["jobs"].values()
    for step in job["steps"]:
        expressions = step.get("run", "").replace("${{ inputs.allow-prod && '--allow-prod' || '' }}", "")
        assert "${{" not in expressions
