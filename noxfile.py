"""All that must hold, in one command: `nox`. What is installed is held to ranges, so that a run is repeatable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")
CHECK = nox.project.dependency_groups(PROJECT, "check")
BENCH = nox.project.dependency_groups(PROJECT, "bench")

# The three living generations of huggingface_hub: on requests, on httpx, on httpx2.
GENERATIONS = {"0.36": "huggingface_hub==0.36.*", "1": "huggingface_hub>=1.33,<2", "2": "huggingface_hub>=2.4,<3"}
NEWEST = "2"


def _pythons() -> list[str]:
    """The supported Pythons that this machine can start."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if pyenv.is_dir():  # pyenv starts only what is asked for by version
        os.environ["PYENV_VERSION"] = ":".join(path.name for path in pyenv.iterdir())
    supported = ("3.10", "3.11", "3.12", "3.13", "3.14")
    return [python for python in supported if _starts(f"python{python}")]


def _starts(command: str) -> bool:
    try:
        return subprocess.run([command, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


AT_HAND = _pythons()
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
COMBINATIONS = list(
    dict.fromkeys(
        [(CURRENT, generation) for generation in GENERATIONS]
        + [(python, NEWEST) for python in (AT_HAND or [CURRENT])[:1] + AT_HAND[-1:]]
    )
)


@nox.session
@nox.parametrize(
    "python,generation", COMBINATIONS, ids=[f"python{python}-hub{generation}" for python, generation in COMBINATIONS]
)
def tests(session: nox.Session, generation: str) -> None:
    """The whole suite, on each generation of huggingface_hub, and on the oldest and the newest Python at hand."""
    session.install("-e", ".[local,examples,budget]", GENERATIONS[generation], *TEST)
    options = ["--numprocesses=4", "--dist=worksteal", "--timeout=180"]  # many a test waits, for an answer or a window
    options += ["--reruns=1"]  # some race real processes against real time: what a busy machine upset gets one more go
    session.run("pytest", *options, *session.posargs)


@nox.session
def bare(session: nox.Session) -> None:
    """Without any extra: what needs one says in a sentence how to install it, and the rest works."""
    session.install("-e", ".", "pytest")
    session.run("pytest", "tests/bare", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    session.install(*CHECK)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
@nox.parametrize("generation", list(GENERATIONS))
def types(session: nox.Session, generation: str) -> None:
    session.install("-e", ".[local,budget]", GENERATIONS[generation], *CHECK)
    session.run("mypy")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """What the README's figures come from; `nox -s bench -- timeline` runs one part."""
    session.install("-e", ".[local,examples,budget]", GENERATIONS[NEWEST], *BENCH)
    session.run("python", "-m", "benchmarks", *session.posargs)
