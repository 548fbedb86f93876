"""Each private name of huggingface_hub still means what we take it to mean, on the installed generation."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

from mat_vis_hub._hub import operations

REPO = "you/textures"
WHERE = {"repo_id": REPO, "repo_type": "dataset"}


@pytest.fixture
def api(local_hub) -> HfApi:
    api = HfApi(endpoint=local_hub.url, token="hf_x")
    api.create_repo(**WHERE)
    return api


def commit(api: HfApi, *made: Any, **kwargs: Any) -> Any:
    return api.create_commit(operations=made, commit_message="Add", **WHERE, **kwargs)


def preuploaded(api: HfApi, path: str, content: bytes, **kwargs: Any) -> CommitOperationAdd:
    addition = CommitOperationAdd(path, content)
    api.preupload_lfs_files(additions=[addition], **WHERE, **kwargs)
    return addition


class TestUnchanged:
    @pytest.mark.parametrize("path", ["a.txt", "a.bin"])
    def test_an_addition_of_what_the_branch_holds(self, api, path):
        assert not operations.is_unchanged(preuploaded(api, path, b"content"))
        commit(api, CommitOperationAdd(path, b"content"))
        assert operations.is_unchanged(preuploaded(api, path, b"content"))
        assert not operations.is_unchanged(preuploaded(api, path, b"other"))
        assert not operations.is_unchanged(CommitOperationAdd(path, b"content"))

    def test_huggingface_hub_does_not_send_it(self, api, local_hub):
        commit(api, CommitOperationAdd("a.txt", b"content"))
        addition = CommitOperationAdd("a.txt", b"content")
        commit(api, addition)
        assert operations.is_unchanged(addition)
        assert len(local_hub.commits) == 1

    def test_a_copy_onto_an_equal_file(self, api, local_hub):
        commit(api, CommitOperationAdd("a.bin", b"content"), CommitOperationAdd("b.bin", b"other"))
        copy = CommitOperationCopy("a.bin", "b.bin")
        commit(api, copy)
        assert not operations.is_unchanged(copy)
        again = CommitOperationCopy("a.bin", "b.bin")
        commit(api, again)
        assert operations.is_unchanged(again)
        assert len(local_hub.commits) == 2

    def test_never_a_deletion(self, api):
        assert not operations.is_unchanged(CommitOperationDelete("a.txt"))

    def test_a_forgotten_file_is_sent(self, api, local_hub):
        commit(api, CommitOperationAdd("a.txt", b"content"))
        addition = preuploaded(api, "a.txt", b"content")
        operations.forget_remote(addition)
        assert not operations.is_unchanged(addition)
        commit(api, addition)
        assert len(local_hub.commits) == 2

    def test_there_is_nothing_to_forget_of_deletions_and_copies(self):
        operations.forget_remote(CommitOperationDelete("a.txt"))
        operations.forget_remote(CommitOperationCopy("a.txt", "b.txt"))


class TestMarksOfAnUpload:
    def test_what_gitignore_excludes_is_ignored(self, api):
        commit(api, CommitOperationAdd(".gitignore", b"*.log\n"))
        assert operations.is_ignored(preuploaded(api, "a.log", b"x"))
        assert not operations.is_ignored(preuploaded(api, "a.txt", b"x"))

    def test_text_is_regular_and_a_large_file_is_not(self, api):
        assert operations.is_regular(preuploaded(api, "a.txt", b"x"))
        assert not operations.is_regular(preuploaded(api, "a.bin", b"x"))
        assert not operations.is_regular(CommitOperationAdd("a.txt", b"x"))

    def test_a_large_file_is_stored_once_it_has_been_uploaded(self, api):
        assert operations.is_stored(preuploaded(api, "a.bin", b"x", free_memory=True))
        assert not operations.is_stored(preuploaded(api, "b.bin", b"x", free_memory=False))
        assert not operations.is_stored(preuploaded(api, "a.txt", b"x", free_memory=True))
        assert operations.is_stored(CommitOperationAdd("empty.txt", b""))


class TestUploadFolder:
    def test_whether_it_skips_create_commit(self, api, local_hub, tmp_path, monkeypatch):
        calls = []
        plain = HfApi.create_commit

        def counted(self: HfApi, *args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return plain(self, *args, **kwargs)

        monkeypatch.setattr(HfApi, "create_commit", counted)
        (tmp_path / "a.txt").write_text("a")
        api.upload_folder(folder_path=tmp_path, **WHERE)
        assert len(local_hub.commits) == 1
        assert (not calls) is operations.bypasses_create_commit()

    def test_without_xet_it_never_does(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        assert not operations.bypasses_create_commit()

    def test_the_files_that_it_adds(self, api, tmp_path):
        for name in ("a.txt", "b.png", "sub/c.txt", "sub/d.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        additions = operations.folder_additions(
            api,
            tmp_path,
            "in/here",
            allow_patterns="*.txt",
            ignore_patterns=["sub/d*"],
            repo_type="dataset",
            token=None,
        )
        assert {addition.path_in_repo for addition in additions} == {"in/here/a.txt", "in/here/sub/c.txt"}

    def test_the_files_that_it_deletes(self, api):
        api.create_branch(**WHERE, branch="v1")
        commit(api, *(CommitOperationAdd(f"data/{name}", b"x") for name in ("a.txt", "b.png")), revision="v1")
        kwargs = {"delete_patterns": ["*.txt"], "repo_type": "dataset", "token": None}
        (deletion,) = operations.folder_deletions(api, REPO, "data", revision="v1", **kwargs)
        assert deletion.path_in_repo == "data/a.txt"
        assert operations.folder_deletions(api, REPO, "data", revision="main", **kwargs) == []


class TestCommitInfo:
    @pytest.mark.parametrize("repo_type", [None, "model", "dataset"])
    def test_equals_the_one_that_create_commit_returns(self, local_hub, repo_type):
        api = HfApi(endpoint=local_hub.url, token="hf_x")
        api.create_repo("you/other", repo_type=repo_type)
        made = api.create_commit(
            "you/other",
            [CommitOperationAdd("a.txt", b"a")],
            commit_message="Add",
            commit_description="why",
            repo_type=repo_type,
        )
        info = operations.commit_info(
            local_hub.url,
            repo_type=repo_type,
            repo_id="you/other",
            oid=made.oid,
            commit_message="Add",
            commit_description="why",
        )
        assert (info, info.__dict__) == (made, made.__dict__)
        assert info.repo_url.endpoint == local_hub.url

    def test_of_a_pull_request(self, api):
        made = commit(api, CommitOperationAdd("a.txt", b"a"), create_pr=True)
        info = operations.as_pull_request(commit(api, CommitOperationAdd("b.txt", b"b")), made.pr_url)
        assert (info.pr_url, info.pr_num, info.pr_revision) == (made.pr_url, 1, "refs/pr/1")
