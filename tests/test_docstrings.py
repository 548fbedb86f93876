"""Every example in a docstring runs, and every module has a docstring."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import mat_vis_hub

MODULES = [
    module.name
    for module in pkgutil.walk_packages(mat_vis_hub.__path__, "mat_vis_hub.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize("name", ["mat_vis_hub", *MODULES])
def test_every_module_has_a_docstring(name):
    assert import_module(name).__doc__


def test_the_public_classes_have_an_example():
    for name in ("ThrottledHfApi", "RetryPolicy", "parse_retry_after", "log_event"):
        assert ">>> " in getattr(mat_vis_hub, name).__doc__
