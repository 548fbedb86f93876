"""The base install: what works with huggingface_hub alone, and what says which extra it needs.

These tests pass with and without the extras.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

import mat_vis_hub

BARE = importlib.util.find_spec("starlette") is None


def python(code: str) -> str:
    """The output of a new interpreter that runs `code`."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_can_be_imported_and_has_a_docstring():
    for name in mat_vis_hub.__all__:
        assert name in dir(mat_vis_hub)
        assert getattr(mat_vis_hub, name).__doc__
    with pytest.raises(AttributeError, match="no_such_name"):
        mat_vis_hub.no_such_name  # noqa: B018


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert mat_vis_hub.__version__ == version("mat-vis-hub")


def test_testing_is_an_attribute_of_the_package():
    assert python("import mat_vis_hub\nwith mat_vis_hub.testing.virtual_time() as time: print(time.now())") == "0.0\n"


def test_importing_loads_no_extra_and_huggingface_hub_only_when_it_is_used():
    code = "import sys, mat_vis_hub; before = 'huggingface_hub' in sys.modules; mat_vis_hub.ThrottledHfApi; "
    extras = "{'starlette', 'uvicorn', 'lz4', 'numpy', 'PIL', 'skimage'}"
    assert python(f"{code} print(before, {extras} & set(sys.modules))") == "False set()\n"


def test_throttledhfapi_loads_only_what_hfapi_loads():
    code = (
        "import sys; from huggingface_hub import HfApi; before = set(sys.modules); from mat_vis_hub import "
        "ThrottledHfApi; print(*(name for name in set(sys.modules) - before if not name.startswith('mat_vis_hub')))"
    )
    assert python(code) == "\n"


@pytest.mark.parametrize("url", ["memory://?limit=1", "sqlite:///budget.db?limit=1"])
def test_a_budget_in_memory_or_in_a_file_needs_no_extra(url, tmp_path):
    code = f"""
import os, sys
os.chdir({str(tmp_path)!r})
sys.modules.update(redis=None, psycopg=None)  # as if they were not installed
from mat_vis_hub.budget import Repository, from_url
with from_url({url!r}) as budget:
    print([budget.reserve(Repository("https://huggingface.co", "model", "you/textures")).wait > 0 for _ in range(2)])
"""
    assert python(code) == "[False, True]\n"


@pytest.mark.parametrize(
    ("url", "extra"), [("redis://cache", "redis"), ("rediss://cache", "redis"), ("postgresql://cache/b", "postgres")]
)
def test_a_budget_on_a_server_says_which_extra_it_needs(url, extra):
    code = f"""
import sys
sys.modules.update(redis=None, psycopg=None)  # as if they were not installed
from mat_vis_hub import ThrottledHfApi
try:
    ThrottledHfApi(budget={url!r})
except ModuleNotFoundError as error:
    print(error)
"""
    assert f"{url} needs" in (text := python(code))
    assert f'pip install "mat-vis-hub[{extra}]"' in text


def test_what_only_a_refusal_or_a_budget_needs_is_not_loaded_before():
    code = "import sys; from mat_vis_hub import ThrottledHfApi; api = ThrottledHfApi(); print(*sorted(sys.modules))"
    loaded = python(code).split()
    assert "mat_vis_hub.throttle" in loaded
    later = ("retry_after", "events", "_internal.progress", "budget", "commits", "local_hub")
    assert [name for name in loaded if name.startswith(tuple(f"mat_vis_hub.{module}" for module in later))] == []


@pytest.mark.skipif(not BARE, reason="the extra `local` is installed")
def test_importing_the_local_hub_says_which_extra_to_install():
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mat-vis-hub\[local\]"'):
        from mat_vis_hub.local_hub import LocalHub  # noqa: F401


@pytest.mark.skipif(not BARE, reason="the extra `local` is installed")
def test_the_command_of_the_local_hub_says_which_extra_to_install():
    done = subprocess.run(
        [sys.executable, "-m", "mat_vis_hub.local_hub", "--port", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert 'pip install "mat-vis-hub[local]"' in done.stderr.splitlines()[-1]
