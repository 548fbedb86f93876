"""The type of a repository is checked against those that the installed huggingface_hub knows."""

from __future__ import annotations

import re

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from mat_vis_hub._hub.repository import check_repo_type


@pytest.mark.parametrize("repo_type", [None, "model", "dataset", "space"])
def test_known_types_pass(repo_type):
    check_repo_type(repo_type)


@pytest.mark.parametrize("repo_type", ["", "datasets", "Model", 7, ["model"]])
def test_an_unknown_type_is_named_in_the_error(repo_type):
    with pytest.raises(ValueError, match=re.escape(f"repo_type={repo_type!r}")):
        check_repo_type(repo_type)


@pytest.mark.parametrize("repo_type", ["kernel", "bucket"])
def test_a_newer_type_passes_if_create_commit_takes_it(local_hub, repo_type):
    api = HfApi(endpoint=local_hub.url, token="hf_x")
    try:
        check_repo_type(repo_type)
    except ValueError:
        with pytest.raises(ValueError, match="Invalid repo type"):
            api.create_commit(
                "you/textures", [CommitOperationAdd("a.txt", b"a")], commit_message="m", repo_type=repo_type
            )
