"""The type of a repository is checked against what the installed huggingface_hub can commit to."""

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
def test_newer_types_pass_where_create_commit_takes_them(local_hub, repo_type):
    def is_rejected_by(check) -> bool:
        try:
            check()
        except ValueError as error:
            return "repo" in str(error)
        except Exception:
            return False  # the local Hub has no such repository
        return False

    def create_commit():
        api = HfApi(endpoint=local_hub.url, token="hf_x")
        addition = CommitOperationAdd("a.txt", b"a")
        api.create_commit("you/textures", [addition], commit_message="m", repo_type=repo_type)

    assert is_rejected_by(lambda: check_repo_type(repo_type)) == is_rejected_by(create_commit)
