"""Fixtures for the examples. Their folder is put on the path, as Python does for a script."""

import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from mat_vis_hub.testing import virtual_time

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

REPO, RELEASE = "me/mat-vis-tst", "v2026.04.2"


@dataclass
class Outcome:
    code: int
    out: list[str]
    err: str

    def lines(self, event):
        """The printed lines of one kind, as dictionaries."""
        return [dict(pair.split("=") for pair in line.split()[1:]) for line in self.out if line.startswith(f"{event} ")]


@pytest.fixture
def time():
    """Virtual time: waits return at once, and the local Hub's windows pass accordingly."""
    with virtual_time() as time:
        yield time


@pytest.fixture
def program(capsys, monkeypatch):
    """Run bake or derive in this process: `program(bake, "--source", "ambientcg", ...)`."""
    monkeypatch.setenv("HF_TOKEN", "hf_test")

    def run(module, *arguments):
        capsys.readouterr()
        defaults = {"--repo": REPO, "--release": RELEASE, "--source": "ambientcg"}
        given = [*arguments]
        for name, value in defaults.items():
            if name not in given:
                given += [name, value]
        try:
            code = module.main(given)
        except SystemExit as error:
            code = error.code
        out, err = capsys.readouterr()
        return Outcome(code, out.splitlines(), err)

    return run


@pytest.fixture
def read(local_hub):
    """Read one file of the release by its URL."""

    def read(path):
        with urllib.request.urlopen(f"{local_hub.url}/datasets/{REPO}/resolve/{RELEASE}/{path}") as response:
            return response.read()

    return read


@pytest.fixture
def tree(local_hub):
    """Return the files of a release and the hashes of their contents: `tree("v2026.04.2")`."""

    def read(release=RELEASE):
        entries = HfApi(endpoint=local_hub.url).list_repo_tree(
            REPO, repo_type="dataset", revision=release, recursive=True
        )
        return {entry.path: entry.blob_id for entry in entries if hasattr(entry, "blob_id")}

    return read
