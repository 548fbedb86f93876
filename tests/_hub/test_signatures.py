"""Signatures of the installed huggingface_hub."""

from __future__ import annotations

import inspect

from mat_vis_hub._hub.signatures import as_installed


def override(self, repo_id: str, *, revision: str | None = None, source: str | None = None) -> None: ...


def test_the_parameters_are_the_installed_ones_and_source():
    def plain(self, repo_id, *, revision=None, parent_commit=None): ...

    decorated = as_installed(plain)(override)
    assert list(inspect.signature(decorated).parameters) == ["self", "repo_id", "revision", "parent_commit", "source"]


def test_a_method_that_was_mocked_before_the_import_may_take_any_keyword():
    def mock(*args, **kwargs): ...

    assert str(inspect.signature(as_installed(mock)(override))).startswith("(*args, source: ")
