"""The CI workflow is valid and runs every nox session; `.ci/run` runs the README's command."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")


def test_the_workflow_is_valid():
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run(
        [*command, str(ROOT / ".github/workflows/ci.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_runs_every_nox_session_but_the_benchmarks():
    sessions = set(re.findall(r"^def (\w+)\(session: nox\.Session", NOXFILE, re.MULTILINE))
    run = {name for names in re.findall(r"nox -s ([\w ]+)$", WORKFLOW, re.MULTILINE) for name in names.split()}
    assert run == sessions - {"bench"}


def test_it_runs_on_every_supported_python():
    (matrix,) = re.findall(r"^ +python: \[(.*)\]$", WORKFLOW, re.MULTILINE)
    supported = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert re.findall(r'"(.+?)"', matrix) == supported


class TestRun:
    @pytest.fixture
    def run(self, tmp_path):
        """Run `.ci/run` beside another README."""
        shutil.copytree(ROOT / ".ci", tmp_path / ".ci")

        def run(readme: str) -> subprocess.CompletedProcess[str]:
            (tmp_path / "README.md").write_text(readme)
            command = ["bash", str(tmp_path / ".ci/run")]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        return run

    def test_it_runs_the_readmes_command(self, run):
        done = run("## Run it\n\n```sh\necho run\n```\n\n## Test it\n\n```sh\necho test\n```\n")
        assert (done.returncode, done.stdout) == (0, "+ echo test\ntest\n")

    def test_it_fails_if_the_command_fails(self, run):
        assert run("## Test it\n\n```sh\nexit 3\n```\n").returncode == 3

    def test_it_fails_without_a_command(self, run):
        done = run("## Run it\n\n```sh\necho run\n```\n")
        assert (done.returncode, done.stderr) == (1, "README.md has no command under 'Test it'.\n")
