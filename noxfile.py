"""Run every check with one command: `nox`. Dependencies are pinned to ranges, so that a run is repeatable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")
PYTEST = [requirement for requirement in TEST if requirement.startswith("pytest")]
CHECK = nox.project.dependency_groups(PROJECT, "check")
BENCH = nox.project.dependency_groups(PROJECT, "bench")

# The supported generations of huggingface_hub. They use requests, httpx and httpx2.
GENERATIONS = {"0.36": "huggingface_hub==0.36.*", "1": "huggingface_hub>=1.33,<2", "2": "huggingface_hub>=2.4,<3"}
NEWEST = "2"

# Libraries that commit to the Hub, in the versions that go with each generation.
ECOSYSTEM = {
    "0.36": ["transformers==4.57.*", "diffusers>=0.39,<0.40"],
    "1": ["transformers>=5.24,<6", "diffusers>=0.42,<1"],
    "2": ["transformers>=5.24,<6", "diffusers>=0.42,<1"],
}
ECOSYSTEM_COMMON = ["datasets>=5,<6", "pandas>=2.2,<4", "pillow>=11,<13", "jinja2>=3.1,<4"]


def _pythons() -> list[str]:
    """Return the supported Python versions that are installed on this machine."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if pyenv.is_dir():  # pyenv's shims only start versions that PYENV_VERSION names
        os.environ["PYENV_VERSION"] = ":".join(path.name for path in pyenv.iterdir())
    supported = ("3.10", "3.11", "3.12", "3.13", "3.14")
    return [python for python in supported if _starts(f"python{python}")]


def _starts(command: str) -> bool:
    try:
        return subprocess.run([command, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


INSTALLED = _pythons()
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
COMBINATIONS = list(
    dict.fromkeys(
        [(CURRENT, generation) for generation in GENERATIONS]
        + [(python, NEWEST) for python in (INSTALLED or [CURRENT])[:1] + INSTALLED[-1:]]
    )
)


# A test may hang in native code, which no signal interrupts. Then its worker ends, and the run goes on.
HANGS = ("--timeout=300", "--timeout-method=thread")


@nox.session
@nox.parametrize(
    "python,generation", COMBINATIONS, ids=[f"python{python}-hub{generation}" for python, generation in COMBINATIONS]
)
def tests(session: nox.Session, generation: str) -> None:
    """Run all tests on each generation of huggingface_hub, and on the oldest and the newest installed Python."""
    session.install("-e", ".[local,examples,budget]", GENERATIONS[generation], *TEST)
    session.run("pytest", "--numprocesses=4", "--dist=worksteal", *HANGS, *session.posargs)


@nox.session
def bare(session: nox.Session) -> None:
    """Test the base install: features that need an extra say how to install it, and the rest works."""
    session.install("-e", ".", "pytest")
    session.run("pytest", "tests/bare", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    session.install(*CHECK)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
@nox.parametrize("generation", list(GENERATIONS))
def types(session: nox.Session, generation: str) -> None:
    """Check types with mypy against each generation of huggingface_hub."""
    session.install("-e", ".[local,budget]", GENERATIONS[generation], *CHECK)
    session.run("mypy")


@nox.session(default=False)
@nox.parametrize("generation", list(ECOSYSTEM))
def ecosystem(session: nox.Session, generation: str) -> None:
    """Run datasets, transformers, diffusers, pandas and the `hf` command against the local Hub."""
    libraries = [*ECOSYSTEM[generation], *ECOSYSTEM_COMMON]
    session.install("-e", ".[local]", GENERATIONS[generation], *libraries, *PYTEST)
    session.run("pytest", "tests/ecosystem", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the README's figures; `nox -s bench -- timeline` runs one part."""
    session.install("-e", ".[local,examples,budget]", GENERATIONS[NEWEST], *BENCH)
    session.run("python", "-m", "benchmarks", *session.posargs)
