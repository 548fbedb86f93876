"""The account, and the validation of metadata."""

import warnings

import pytest
from huggingface_hub import CommitOperationAdd as Add


def test_whoami_names_the_user(api):
    assert api.whoami()["name"] == "local"


def test_whoami_needs_a_token(ask):
    assert ask("GET", "/api/whoami-v2", token=None).status == 401


def readme(metadata):
    return Add("README.md", f"---\n{metadata}\n---\n# A data set\n".encode())


def test_valid_metadata_gives_no_warning(commit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        commit(readme("license: cc0-1.0\ntags: [texture]"))


@pytest.mark.parametrize("content", [b"# No metadata", b"", b"---\n---\n", b"---\nnever: closed\n"])
def test_missing_metadata_gives_a_warning(commit, content):
    with pytest.warns(UserWarning, match="empty or missing yaml metadata in repo card"):
        commit(Add("README.md", content))


@pytest.mark.parametrize("metadata", ["license: [", "- a\n- list", "just words", "license: apache2"])
def test_invalid_metadata_prevents_the_commit(local_hub, commit, metadata):
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
        commit(readme(metadata))
    assert local_hub.commits == []
