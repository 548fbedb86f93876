"""Valid and invalid names."""

import subprocess

import pytest

from mat_vis_hub.local_hub.model.names import is_allowed_path, is_path, is_valid_ref, is_valid_repo_id


@pytest.mark.parametrize("repo_id", ["you/x", "you/a.b-c_d", "0/1", "_/_", "y" + "/" + "x" * 94])
def test_valid_repository_ids(repo_id):
    assert is_valid_repo_id(repo_id)


@pytest.mark.parametrize(
    "repo_id",
    ["x", "you/", "/x", "you/..", "you/a..b", "you/a--b", "you/-a", "you/a.", "you/x.git", "a/b/c", "you/é", "you/a b"],
)
def test_invalid_repository_ids(repo_id):
    assert not is_valid_repo_id(repo_id)
    assert not is_valid_repo_id("you/x\n")
    assert not is_valid_repo_id("y/" + "x" * 95)


GOOD_REFS = ["main", "v2026.04.2", "feature/x", "é", "@", "a@b", "-x", "refs/heads/x", "HEAD"]
BAD_REFS = ["", "/", "a/", "/a", "a//b", ".a", "a/.b", "a.", "a..b", "a.lock", "a.lock/b", "a b", "a~b", "a^b", "a:b"]
BAD_REFS += ["a?", "a*", "a[", "a\\b", "@{", "a\nb", "\x7f"]


@pytest.mark.parametrize("name", [*GOOD_REFS, *BAD_REFS])
def test_refs_are_valid_where_git_says_so(name):
    ref = f"refs/heads/{name}"
    assert is_valid_ref(ref) == (name in GOOD_REFS)
    git = subprocess.run(["git", "check-ref-format", ref], check=False)
    assert is_valid_ref(ref) == (git.returncode == 0)


def test_a_ref_is_no_longer_than_a_file_name_can_be():
    assert not is_valid_ref("refs/heads/" + "x" * 3000)
    assert not is_valid_ref("refs/heads/\0")


@pytest.mark.parametrize("path", ["a", "a/b.txt", ".gitignore", "a b/ü#%?", "a..b", "..a", "a\\b"])
def test_valid_paths(path):
    assert is_path(path)
    assert is_allowed_path(path)


@pytest.mark.parametrize("path", ["", "/a", "a//b", "a/", "a\0", "a\nb"])
def test_what_is_no_path(path):
    assert not is_path(path)


@pytest.mark.parametrize(
    "path", [".", "..", "../a", "a/../b", ".git", "a/.git/config", "..\\a", "a\\..\\b", ".git\\config"]
)
def test_paths_that_could_leave_the_folder_are_not_allowed(path):
    assert is_path(path)
    assert not is_allowed_path(path)
