"""The package loads its dependencies when they are used."""

import subprocess
import sys

import pytest

import mat_vis_hub.local_hub


def run(program):
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    return ran.returncode, ran.stdout + ran.stderr


def test_neither_the_package_nor_its_plugin_loads_a_server():
    program = """
import sys, mat_vis_hub.local_hub, mat_vis_hub.local_hub.pytest_plugin
heavy = {"starlette", "uvicorn", "anyio", "asyncio", "huggingface_hub", "yaml"} & set(sys.modules)
raise SystemExit(repr(heavy) if heavy else 0)
"""
    assert run(program) == (0, "")


def test_a_missing_extra_is_named():
    program = "import sys; sys.modules['starlette'] = None; from mat_vis_hub.local_hub import LocalHub"
    code, said = run(program)
    assert code == 1
    assert said.endswith('The local Hub needs Starlette and uvicorn: pip install "mat-vis-hub[local]"\n')


def test_there_is_nothing_else_in_it():
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        mat_vis_hub.local_hub.Other  # noqa: B018
