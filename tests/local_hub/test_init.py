"""The package imports its dependencies on first use."""

import subprocess
import sys

import pytest

import mat_vis_hub.local_hub


def run(program):
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stdout + ran.stderr


def test_the_package_and_its_plugin_import_no_dependency():
    program = """
import sys, mat_vis_hub.local_hub, mat_vis_hub.local_hub.pytest_plugin
heavy = {"starlette", "uvicorn", "pathspec", "anyio", "asyncio", "huggingface_hub", "yaml"} & set(sys.modules)
raise SystemExit(repr(heavy) if heavy else 0)
"""
    assert run(program) == (0, "")


@pytest.mark.parametrize("dependency", ["starlette", "uvicorn", "pathspec"])
def test_without_the_extra_the_error_says_what_to_install(dependency):
    program = f"import sys; sys.modules['{dependency}'] = None; from mat_vis_hub.local_hub import LocalHub"
    code, output = run(program)
    assert code == 1
    assert output.endswith('The local Hub needs Starlette, uvicorn and pathspec: pip install "mat-vis-hub[local]"\n')


def test_other_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        mat_vis_hub.local_hub.Other  # noqa: B018
