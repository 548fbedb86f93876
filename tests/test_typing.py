"""To type checkers, `inspect` and `typing`, ThrottledHfApi is an HfApi whose committing methods also take `source`."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

import mat_vis_hub
from mat_vis_hub import ThrottledHfApi

COMMITTING = ["create_commit", "upload_file", "upload_folder", "delete_file", "delete_files", "delete_folder"]

IMPORTS = {
    "HfApi": "from huggingface_hub import HfApi as Api",
    "Throttled": "from mat_vis_hub import ThrottledHfApi as Api",
}

# What users write. The checkers must see the same types in it for both classes.
CORRECT = """
from concurrent.futures import Future
from pathlib import Path
from typing import List, Union
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete
api = Api(endpoint="https://huggingface.co", token="hf_x", library_name="bake", headers={"X-Bake": "1"})
operations: List[Union[CommitOperationAdd, CommitOperationDelete]] = [CommitOperationDelete("old.txt")]
operations.append(CommitOperationAdd("brick/color.png", Path("brick.png")))
info = api.create_commit("you/textures", operations, commit_message="Add", repo_type="dataset")
reveal_type(info)
reveal_type(info.oid)
future = api.create_commit("you/textures", operations, commit_message="Add", run_as_future=True)
reveal_type(future)
reveal_type(future.result().pr_url)
by_keyword: CommitInfo = api.create_commit(repo_id="you/textures", operations=iter(operations), commit_message="Add")
reveal_type(api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="you/textures"))
waiting: Future[CommitInfo] = api.upload_file(
    path_or_fileobj="a", path_in_repo="a.txt", repo_id="you/textures", run_as_future=True
)
reveal_type(api.upload_folder(repo_id="you/textures", folder_path=Path("textures"), ignore_patterns=["*.tmp"]))
reveal_type(api.upload_folder(repo_id="you/textures", folder_path="textures", run_as_future=True))
reveal_type(api.delete_file("a.txt", "you/textures"))
reveal_type(api.delete_files(repo_id="you/textures", delete_patterns=["*.txt"]))
reveal_type(api.delete_folder("brick", "you/textures", commit_message="Delete"))
api.preupload_lfs_files("you/textures", [CommitOperationAdd("a.bin", b"x")])
reveal_type(api.run_as_future(api.whoami))
reveal_type(api.whoami())
for commit in api.list_repo_commits("you/textures"):
    reveal_type(commit.title)
"""

# Each line is an error, whichever class it is.
MISTAKES = """
api.create_commit("you/textures", operations)
api.create_commit("you/textures", operations, comit_message="Add", commit_message="Add")
api.create_commit("you/textures", 7, commit_message="Add")
api.create_commit("you/textures", operations, commit_message="Add", repo_type=7)
api.create_commit("you/textures", operations, "Add")
api.create_comit("you/textures", operations, commit_message="Add")
future.oid
info.result()
api.upload_file(path_or_fileobj=b"x", repo_id="you/textures")
api.upload_folder("you/textures", folder_path="textures")
api.upload_folder(repo_id="you/textures", folder_path="textures", allow_pattern="*.png")
api.delete_file("a.txt")
api.preupload_lfs_files("you/textures", ["a.bin"])
"""


class Findings(NamedTuple):
    """What a checker says of one script: the errors as (line, rule), and the revealed types as (line, type)."""

    errors: set[tuple[int, str]]
    types: set[tuple[int, str]]


class Scripts:
    """The script once for each class, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first_mistake = len(f"x{CORRECT}".splitlines()) + 1
        self.last_mistake = self.first_mistake + len(MISTAKES.strip().splitlines()) - 1
        for name, line in IMPORTS.items():
            (folder / f"{name}.py").write_text(f"{line}{CORRECT}{MISTAKES.lstrip()}")
        root = Path(mat_vis_hub.__file__).parents[1]
        self.extra_paths = [] if "site-packages" in root.parts else [str(root)]  # mypy finds what is installed itself
        (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": self.extra_paths}))

    def run(self, checker: str, *arguments: str) -> str:
        """The checker's output for both scripts. Skips the test if the checker cannot run on this machine."""
        environment = {**os.environ, "MYPYPATH": os.pathsep.join(self.extra_paths)}
        done = subprocess.run(
            [sys.executable, "-m", checker, *arguments, *(f"{name}.py" for name in IMPORTS)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):  # 1: it has found errors
            raise AssertionError(f"{checker}: {done.stdout}{done.stderr}")
        return done.stdout


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Scripts:
    return Scripts(tmp_path_factory.mktemp("scripts"))


def mypy(scripts: Scripts) -> dict[str, Findings]:
    findings = {name: Findings(set(), set()) for name in IMPORTS}
    output = scripts.run("mypy", "--output=json", "--config-file=", "--cache-dir=cache", "--no-incremental")
    for line in output.splitlines():
        entry = json.loads(line)
        found = findings.get(Path(entry["file"]).stem)
        if found is None:
            continue
        if entry["severity"] == "error":
            found.errors.add((entry["line"], entry["code"]))
        elif entry["message"].startswith("Revealed type is"):
            found.types.add((entry["line"], entry["message"]))
    return findings


def pyright(scripts: Scripts) -> dict[str, Findings]:
    findings = {name: Findings(set(), set()) for name in IMPORTS}
    output = scripts.run("pyright", "--outputjson", f"--pythonpath={sys.executable}")
    for entry in json.loads(output)["generalDiagnostics"]:
        found = findings[Path(entry["file"]).stem]
        line = entry["range"]["start"]["line"] + 1
        if entry["severity"] == "error":
            found.errors.add((line, entry["rule"]))
        elif entry["severity"] == "information":
            found.types.add((line, entry["message"]))
    return findings


def skip_unless_pyright_runs() -> None:
    """pyright runs on node, and its package downloads the rest of itself on first use."""
    pytest.importorskip("pyright", reason="pyright is not installed")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pyright", "--version"], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("pyright cannot run here: it did not answer within two minutes")
    if done.returncode != 0 or "pyright " not in done.stdout:
        pytest.skip(f"pyright cannot run here: {(done.stdout + done.stderr).strip()[-200:]}")


@pytest.fixture(scope="module", params=[mypy, pyright], ids=["mypy", "pyright"])
def findings(request: pytest.FixtureRequest, scripts: Scripts) -> dict[str, Findings]:
    checker: Callable[[Scripts], dict[str, Findings]] = request.param
    if checker is pyright:
        skip_unless_pyright_runs()
    else:
        pytest.importorskip("mypy", reason="mypy is not installed")
    return checker(scripts)


class TestCheckers:
    def test_they_find_the_same_errors(self, findings):
        assert findings["Throttled"].errors == findings["HfApi"].errors

    def test_they_see_the_same_types(self, findings):
        assert len(findings["HfApi"].types) == CORRECT.count("reveal_type")
        assert findings["Throttled"].types == findings["HfApi"].types

    @pytest.mark.parametrize("name", IMPORTS)
    def test_they_find_every_mistake_and_nothing_else(self, findings, scripts, name):
        lines = {line for line, _ in findings[name].errors}
        assert lines == set(range(scripts.first_mistake, scripts.last_mistake + 1))


def parameters(function: Any) -> dict[str, tuple[Any, Any]]:
    return {name: (made.kind, made.default) for name, made in inspect.signature(function).parameters.items()}


class TestSignatures:
    @pytest.mark.parametrize("name", COMMITTING)
    def test_a_committing_method_has_those_of_hfapi_and_source(self, name):
        ours = parameters(getattr(ThrottledHfApi, name))
        assert ours.pop("source") == (inspect.Parameter.KEYWORD_ONLY, None)
        assert list(ours.items()) == list(parameters(getattr(HfApi, name)).items())

    def test_preupload_has_those_of_hfapi(self):
        ours = parameters(ThrottledHfApi.preupload_lfs_files)
        ours.pop("source", None)
        assert list(ours.items()) == list(parameters(HfApi.preupload_lfs_files).items())

    @pytest.mark.parametrize("name", ["batch", "transact", "budget_status"])
    def test_our_own_methods_name_all_their_parameters(self, name):
        kinds = {kind for kind, _ in parameters(getattr(ThrottledHfApi, name)).values()}
        assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}

    def test_batch_and_transact_have_those_of_what_they_call(self):
        from mat_vis_hub.commits.batch import CommitBatch
        from mat_vis_hub.commits.transaction import transact

        for method, function in ((ThrottledHfApi.batch, CommitBatch), (ThrottledHfApi.transact, transact)):
            ours, theirs = parameters(method), parameters(function)
            assert set(theirs) - set(ours) <= {"api", "emit"}
            assert set(ours) - set(theirs) == {"self"}
            for name in (set(ours) & set(theirs)) - {"source"}:
                assert ours[name] == theirs[name], name


OVERRIDDEN = [
    name
    for name in dir(ThrottledHfApi)
    if (name == "__init__" or not name.startswith("_"))
    and callable(getattr(ThrottledHfApi, name))
    and getattr(ThrottledHfApi, name) is not getattr(HfApi, name, None)
]


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_type_hints_can_be_read(name):
    try:
        typing.get_type_hints(getattr(HfApi, name, None) or getattr(ThrottledHfApi, name))
    except NameError:
        pytest.skip("the hints of HfApi's own method cannot be read either")
    hints = typing.get_type_hints(getattr(ThrottledHfApi, name))
    named = set(inspect.signature(getattr(ThrottledHfApi, name)).parameters) - {"self"}
    assert named <= set(hints)


def spelt_alike(hint: Any) -> Any:
    """The hint in a form that is equal for `Optional[List[str]]` and `list[str] | None`."""
    origin, arguments = typing.get_origin(hint), [spelt_alike(argument) for argument in typing.get_args(hint)]
    if origin in (typing.Union, types.UnionType):
        return frozenset(arguments)
    return (origin, *arguments) if origin else hint


@pytest.mark.parametrize("name", [*COMMITTING, "preupload_lfs_files"])
def test_type_hints_are_those_of_hfapi(name):
    # These are imported for type checkers alone, here and in some generations.
    names = {
        "CommitOperationAdd": CommitOperationAdd,
        "CommitOperation": CommitOperationAdd | CommitOperationCopy | CommitOperationDelete,
    }
    ours = typing.get_type_hints(getattr(ThrottledHfApi, name), localns=names)
    theirs = typing.get_type_hints(getattr(HfApi, name), localns=names)
    shown = inspect.signature(getattr(ThrottledHfApi, name)).parameters
    hidden = {parameter for parameter in ours if parameter not in shown and parameter not in theirs}
    ours = {parameter: hint for parameter, hint in ours.items() if parameter not in {*hidden, "source"}}
    assert {parameter: spelt_alike(hint) for parameter, hint in ours.items()} == {
        parameter: spelt_alike(hint) for parameter, hint in theirs.items()
    }
