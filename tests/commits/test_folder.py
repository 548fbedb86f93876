"""upload_folder in few throttled commits, with the arguments, files and result of HfApi's own."""

from __future__ import annotations

import os

import pytest
from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import RetryPolicy, ThrottledHfApi, ThrottleEvent, gave_up
from mat_vis_hub.commits import folder

REPO = "you/textures"
WHERE = {"repo_id": REPO, "repo_type": "dataset"}


@pytest.fixture
def api(local_hub, time, emitted) -> ThrottledHfApi:
    api = ThrottledHfApi(endpoint=local_hub.url, token="hf_x", retry=RetryPolicy(jitter=0), hooks=[emitted.append])
    api.create_repo(**WHERE)
    return api


@pytest.fixture
def small_files(tmp_path):
    """Makes any number of files of a few bytes each."""

    def make(count: int, text: str = "content"):
        for number in range(count):
            path = tmp_path / "files" / f"{number % 7}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text} {number}")
        return tmp_path / "files"

    return make


def files(api: HfApi, **kwargs) -> set[str]:
    return {path for path in api.list_repo_files(**WHERE, **kwargs) if path != ".gitattributes"}


class TestQuota:
    def test_250_files_against_a_used_up_quota_are_one_commit(self, api, local_hub, time, emitted, small_files):
        local_hub.spend(REPO, 128, repo_type="dataset")
        info = api.upload_folder(**WHERE, folder_path=small_files(250))
        assert isinstance(info, CommitInfo)
        assert len(files(api)) == 250
        assert len(local_hub.commits) == 1
        assert len(local_hub.refusals) <= 2
        assert len(emitted) == len(local_hub.refusals)
        assert all(isinstance(event, ThrottleEvent) for event in emitted)
        assert 3600 <= time.now() <= 1.05 * 3600

    @pytest.mark.local_hub(operation_time=0.01)
    def test_no_more_commits_than_hfapi_makes(self, local_hub, small_files, tmp_path):
        path = small_files(1200)
        plain = HfApi(endpoint=local_hub.url, token="hf_x")
        ours = ThrottledHfApi(endpoint=local_hub.url, token="hf_x")
        for api, repo in ((plain, "you/plain"), (ours, "you/ours")):
            api.create_repo(repo, repo_type="dataset")
            api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=path)
        commits = [commit.repo for commit in local_hub.commits]
        assert 1 <= commits.count("you/ours") <= commits.count("you/plain")
        assert plain.list_repo_files("you/ours", repo_type="dataset") == plain.list_repo_files(
            "you/plain", repo_type="dataset"
        )

    @pytest.mark.parametrize("endpoint", ["preupload", "commit"])
    def test_a_refusal_at_any_step_is_emitted_and_waited_out(
        self, api, local_hub, time, emitted, small_files, endpoint
    ):
        local_hub.answer(429, headers={"Retry-After": "55"}, on=endpoint)
        api.upload_folder(**WHERE, folder_path=small_files(3))
        assert time.waits == [55]
        assert [event.hint for event in emitted] == ["retry-after"]
        assert len(files(api)) == 3

    def test_other_errors_are_raised_at_once(self, api, local_hub, time, small_files):
        local_hub.answer(403, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            api.upload_folder(**WHERE, folder_path=small_files(3))
        assert caught.value.response.status_code == 403
        assert time.waits == []


class TestLikeHfApi:
    def test_target_path_and_patterns(self, api, small_files, tmp_path):
        small_files(10)
        (tmp_path / "files" / ".git").mkdir()
        (tmp_path / "files" / ".git" / "config").write_text("no")
        (tmp_path / "files" / "notes.md").write_text("no")
        api.upload_folder(
            **WHERE,
            folder_path=str(tmp_path / "files"),
            path_in_repo="in/here",
            allow_patterns=["*.txt"],
            ignore_patterns="0/*",
        )
        assert files(api) == {f"in/here/{n % 7}/{n}.txt" for n in range(10) if n % 7}

    def test_deletions_and_the_parent_belong_to_the_first_commit(self, api, local_hub, small_files, tmp_path):
        api.upload_folder(**WHERE, folder_path=small_files(9), path_in_repo="data")
        head = api.repo_info(**WHERE).sha
        (tmp_path / "files" / "0" / "0.txt").unlink()
        (tmp_path / "files" / "0" / "7.txt").write_text("new")
        api.upload_folder(
            **WHERE,
            folder_path=tmp_path / "files",
            path_in_repo="data",
            delete_patterns="0/*",
            parent_commit=head,
            commit_message="replace",
        )
        assert local_hub.commits[-1].message == "replace"
        assert {"data/0/0.txt", "data/0/7.txt"} <= set(local_hub.commits[-1].paths)
        assert len(files(api)) == 8
        with pytest.raises(HfHubHTTPError, match="refresh and try again"):
            api.upload_folder(**WHERE, folder_path=small_files(9, "again"), parent_commit=head)

    @pytest.mark.parametrize("options", [{}, {"path_in_repo": "in/here"}, {"revision": "side"}, {"create_pr": True}])
    def test_the_result_is_the_same_string(self, api, small_files, options):
        """Before 1.0 that is the address of the folder, afterwards the address of the commit."""
        api.create_branch(branch="side", **WHERE)
        plain = HfApi(endpoint=api.endpoint, token="hf_local")
        results = []
        for client, name in ((plain, "one"), (api, "two")):
            result = client.upload_folder(**WHERE, folder_path=small_files(3, name), **options)
            results.append(str(result).replace(result.oid, "OID").replace("%2F2", "%2F1"))
        assert results[0] == results[1]

    def test_calling_again_skips_what_is_committed(self, api, local_hub, small_files):
        path = small_files(5)
        first = api.upload_folder(**WHERE, folder_path=path)
        again = api.upload_folder(**WHERE, folder_path=path)
        assert again.oid == first.oid
        (path / "1" / "1.txt").write_text("changed")
        api.upload_folder(**WHERE, folder_path=path)
        first, second = local_hub.commits
        assert len(first.paths) == 5
        assert "1/1.txt" in second.paths
        if folder.bypasses_create_commit():  # otherwise unchanged files are sent along
            assert second.paths == ("1/1.txt",)

    def test_a_large_folder_becomes_numbered_commits(self, api, local_hub, small_files, monkeypatch):
        monkeypatch.setattr(folder, "FIRST", 4)
        api.upload_folder(**WHERE, folder_path=small_files(9), commit_message="Add")
        if folder.bypasses_create_commit():
            assert [commit.message for commit in local_hub.commits] == ["Add", "Add (part 2)"]
        else:
            assert [commit.message for commit in local_hub.commits] == ["Add"]
        assert len(files(api)) == 9

    def test_much_regular_content_becomes_several_commits(self, api, local_hub, small_files, monkeypatch):
        monkeypatch.setattr(folder, "_MOST_REGULAR_BYTES", 20)
        api.upload_folder(**WHERE, folder_path=small_files(4))
        assert len(local_hub.commits) == (2 if folder.bypasses_create_commit() else 1)
        assert len(files(api)) == 4

    def test_all_commits_go_into_one_pull_request(self, api, local_hub, small_files, monkeypatch):
        monkeypatch.setattr(folder, "FIRST", 4)
        local_hub.answer(429, on="commit", times=2)
        info = api.upload_folder(**WHERE, folder_path=small_files(9), create_pr=True)
        assert info.pr_url
        assert info.pr_revision == "refs/pr/1"
        assert files(api) == set()
        assert len(files(api, revision="refs/pr/1")) == 9
        assert [pull_request.num for pull_request in api.get_repo_discussions(REPO, repo_type="dataset")] == [1]

    def test_a_pull_request_against_another_branch_is_an_error(self, api, small_files):
        if folder.bypasses_create_commit():
            with pytest.raises(ValueError, match="create_pr"):
                api.upload_folder(**WHERE, folder_path=small_files(1), create_pr=True, revision="dev")

    def test_ignored_files_are_not_committed(self, api, small_files):
        path = small_files(4)
        (path / ".gitignore").write_text("1/\n")
        api.upload_folder(**WHERE, folder_path=path)
        assert files(api) == {".gitignore", "0/0.txt", "2/2.txt", "3/3.txt"}

    def test_in_a_future(self, api, local_hub, time, emitted, small_files):
        local_hub.answer(429, headers={"Retry-After": "55"}, on="commit")
        future = api.upload_folder(**WHERE, folder_path=small_files(2), run_as_future=True)
        assert isinstance(future.result(timeout=60), CommitInfo)
        assert len(emitted) == 1

    def test_large_files_use_xet_if_it_is_available(self, api, local_hub, tmp_path, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        payload = os.urandom(200_000)
        (tmp_path / "big.bin").write_bytes(payload)
        api.upload_folder(**WHERE, folder_path=tmp_path)
        endpoints = {request.endpoint for request in local_hub.requests}
        assert ("xet-token" in endpoints) == folder.bypasses_create_commit()
        assert ("lfs-batch" in endpoints) != folder.bypasses_create_commit()
        (info,) = api.get_paths_info(REPO, ["big.bin"], repo_type="dataset")
        assert info.size == len(payload)
        assert info.lfs

    def test_without_xet_it_is_one_commit(self, api, local_hub, small_files, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(folder, "FIRST", 2)
        local_hub.answer(429, headers={"Retry-After": "55"}, on="commit")
        api.upload_folder(**WHERE, folder_path=small_files(5))
        assert [len(commit.paths) for commit in local_hub.commits] == [5]

    def test_a_missing_folder(self, api, tmp_path):
        with pytest.raises(ValueError, match="not a directory"):
            api.upload_folder(**WHERE, folder_path=tmp_path / "missing")


class TestStrictHub:
    """A folder against everything that stands in the way of its commits."""

    @pytest.mark.parametrize("recover", [False, True])
    @pytest.mark.local_hub(operation_time=0.2, late=0.5, limit=20, api_limit=None)
    def test_a_spent_window_a_lock_and_timeouts(self, local_hub, time, small_files, recover):
        api = ThrottledHfApi(local_hub.url, "hf_x", retry=RetryPolicy(recover=recover), hooks=[])
        api.create_repo(**WHERE)
        local_hub.spend(REPO, 18, repo_type="dataset")
        lock = {"error": "Another commit operation is in progress for this repository. Please try again later."}
        local_hub.answer(409, body=lock, on="commit", times=3, after=2)
        api.upload_folder(**WHERE, folder_path=small_files(700))
        assert len(files(api)) == 700
        paths = [path for commit in local_hub.commits for path in commit.paths]
        assert sorted(paths) == sorted(set(paths))
        assert time.now() > 3600  # it has waited for the next window

    def test_a_policy_that_gives_up_fails_once(self, local_hub, time, small_files):
        api = ThrottledHfApi(local_hub.url, "hf_x", retry=RetryPolicy(max_total_wait=60), hooks=[])
        api.create_repo(**WHERE)
        local_hub.spend(REPO, 128, repo_type="dataset")
        with pytest.raises(HfHubHTTPError) as caught:
            api.upload_folder(**WHERE, folder_path=small_files(600))
        assert gave_up(caught.value) is not None
        assert [refusal.kind for refusal in local_hub.refusals] == ["commit"]

    @pytest.mark.local_hub(operation_time=100, late="never")
    def test_a_file_that_is_never_taken_is_named(self, local_hub, time, small_files):
        api = ThrottledHfApi(local_hub.url, "hf_x", hooks=[])
        api.create_repo(**WHERE)
        with pytest.raises(HfHubHTTPError) as caught:
            api.upload_folder(**WHERE, folder_path=small_files(4))
        assert caught.value.response.status_code == 504
        if hasattr(caught.value, "add_note"):
            assert "0/0.txt is the only change in this commit to you/textures" in caught.value.__notes__[-1]
        assert sum(request.status == 504 for request in local_hub.requests) == 3
