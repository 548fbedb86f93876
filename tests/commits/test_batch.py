"""CommitBatch over real HTTP, against a local Hub: many files in few commits, and none lost."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import sys
import threading
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub._internal import clock
from mat_vis_hub.budget.fail_open import FailOpenBudget
from mat_vis_hub.budget.url import from_url
from mat_vis_hub.commits import batch as batch_module
from mat_vis_hub.commits import limits, staging
from mat_vis_hub.commits.batch import CommitBatch
from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.testing import virtual_time
from tests.refusals import commit_quota

TOKEN = "hf_" + "s3cret" * 6
# Most tests look at the Hub right after an `add`, so these batches work without threads.
DEFAULTS = {"repo_type": "dataset", "commit_message": "Bake", "background": False}
numbers = itertools.count()


@dataclass
class Repo:
    """A new dataset repository, the requests that the Hub saw for it, and batches for it."""

    hub: Any
    api: HfApi
    id: str

    def batch(
        self, api: HfApi | None = None, *, limit: int | None = None, fresh: bool = False, **kwargs: Any
    ) -> CommitBatch:
        """A batch that has committed before, unless `fresh`. With `limit`, a budget says that this is the quota."""
        if limit is not None:
            api = api or self.api
            api.budget = FailOpenBudget(from_url(f"memory://?limit={limit}"))
        batch = CommitBatch(api or self.api, self.id, **{**DEFAULTS, **kwargs})
        batch._has_news = not fresh
        return batch

    def commit(self, **files: bytes) -> None:
        """Commit `folder__name=b"..."` as `folder/name.txt`, without a batch."""
        operations = [CommitOperationAdd(name.replace("__", "/") + ".txt", content) for name, content in files.items()]
        HfApi(self.hub.url, TOKEN).create_commit(self.id, operations, commit_message="Before", repo_type="dataset")

    @property
    def commits(self) -> list[Any]:
        return [commit for commit in self.hub.commits if commit.repo == self.id and commit.message == "Bake"]

    @property
    def sizes(self) -> list[int]:
        return [len(commit.paths) for commit in self.commits]

    @property
    def files(self) -> set[str]:
        return set(self.api.list_repo_files(self.id, repo_type="dataset")) - {".gitattributes"}

    def read(self, path: str) -> bytes:
        with urlopen(f"{self.hub.url}/datasets/{self.id}/resolve/main/{path}") as response:
            return response.read()

    def seen(self, endpoint: str) -> int:
        return sum(request.endpoint == endpoint and self.id in request.path for request in self.hub.requests)


@pytest.fixture(scope="module")
def shared_hub():
    with LocalHub(api_limit=None, creation_limit=None) as hub, pytest.MonkeyPatch.context() as patched:
        patched.setattr(constants, "ENDPOINT", hub.url)  # huggingface_hub 0.x compares addresses with it
        yield hub


@pytest.fixture
def time():
    with virtual_time() as time:
        yield time


@pytest.fixture
def repo(shared_hub, time):
    shared_hub.clear()
    api = ThrottledHfApi(shared_hub.url, TOKEN, retry=RetryPolicy(jitter=0), hooks=[])
    repo_id = f"you/textures-{next(numbers)}"
    api.create_repo(repo_id, repo_type="dataset")
    return Repo(shared_hub, api, repo_id)


@pytest.fixture(autouse=True)
def no_complaints_afterwards(monkeypatch):
    """Many tests leave changes pending on purpose, and what they drop is collected during a later test."""
    made: list[CommitBatch] = []
    make = CommitBatch.__init__

    def noted(batch: CommitBatch, *args: Any, **kwargs: Any) -> None:
        made.append(batch)
        make(batch, *args, **kwargs)

    monkeypatch.setattr(CommitBatch, "__init__", noted)
    yield
    for batch in made:
        batch._is_closed = True


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="mat_vis_hub")
    return caplog


class TestWhenACommitIsDue:
    def test_leaving_the_block_commits_the_rest(self, repo):
        with repo.batch() as batch:
            batch.add("brick/color.png", b"color")
            batch.add("brick/license.txt", b"CC0")
            assert batch.pending == ["brick/color.png", "brick/license.txt"]
            assert repo.commits == []
        assert batch.pending == []
        assert [info.oid for info in batch.commits] == [commit.oid for commit in repo.commits]
        assert repo.sizes == [2]
        assert (repo.read("brick/color.png"), repo.read("brick/license.txt")) == (b"color", b"CC0")

    def test_an_empty_batch_makes_no_commit(self, repo):
        with repo.batch() as batch:
            assert batch.flush() is None
        assert batch.commits == repo.commits == []

    def test_a_fresh_batch_first_asks_about_as_many_files_as_fit_one_request(self, repo, time):
        with repo.batch(fresh=True) as batch:
            for number in range(300):
                batch.add(f"{number}.txt", b"x")
            assert repo.sizes == [256]
        with repo.batch(fresh=True) as batch:
            batch.add("new.txt", b"x")
            time.advance(60)
            batch.add("newer.txt", b"x")
            assert repo.sizes[-1] == 2

    def test_small_commits_at_first_and_full_ones_from_half_the_limit_on(self, repo):
        with repo.batch(max_files=10, limit=4) as batch:
            for number in range(26):
                batch.add(f"{number}.txt", b"x")
        assert repo.sizes == [1, 4, 10, 10, 1]

    def test_small_commits_again_in_the_next_window(self, repo, time):
        with repo.batch(max_files=10, limit=2) as batch:
            for number in range(11):
                batch.add(f"{number}.txt", b"x")
            time.advance(3601)
            batch.add("next.txt", b"x")
            assert repo.sizes == [1, 10, 1]

    @pytest.mark.local_hub(limit=8)
    def test_a_long_run_is_not_refused(self, local_hub, time):
        api = ThrottledHfApi(local_hub.url, TOKEN, budget="memory://?limit=8", hooks=[])
        api.create_repo("you/textures", repo_type="dataset")
        with CommitBatch(api, "you/textures", **{**DEFAULTS, "max_age": 600}) as batch:
            for number in range(240):
                batch.add(f"{number}.txt", b"x")
                time.advance(60)
        assert local_hub.refusals == []
        assert len(batch.commits) <= 8 * 4

    def test_by_age(self, repo, time):
        with repo.batch(max_age=100) as batch:
            batch.add("0.txt", b"x")
            time.advance(9)
            batch.add("1.txt", b"x")
            assert repo.sizes == []
            time.advance(1)
            batch.add("2.txt", b"x")
            assert repo.sizes == [3]

    def test_by_bytes_of_regular_content(self, repo):
        with repo.batch(max_bytes=10_000, limit=1000) as batch:
            for number in range(8):
                batch.add(f"{number}.txt", b"x" * 3000)
        assert sum(repo.sizes) == 8
        assert max(repo.sizes) <= 3

    def test_by_bytes_uploaded_in_several_requests(self, repo):
        with repo.batch(max_bytes=10_000, limit=1) as batch:
            batch.add("0.txt", b"x" * 10_000)
            batch.add("1.txt", b"x" * 6_000)
            batch.add("1.bin", os.urandom(4_000))
            batch.add("2.txt", b"x" * 4_000)
            assert repo.sizes == [1, 3]

    def test_large_files_do_not_count_as_bytes_of_a_commit(self, repo):
        with repo.batch(max_bytes=10_000) as batch:
            for number in range(8):
                batch.add(f"{number}.bin", os.urandom(3000))
            assert repo.sizes == []
        assert repo.sizes == [8]

    def test_the_maxima_stay_below_the_limits_of_the_hub(self, repo):
        batch = repo.batch(max_files=10**9, max_bytes=10**12)
        assert 2 * batch._max_files <= 25_000  # a failed commit is retried with what was staged meanwhile
        assert 2 * (batch._max_bytes + batch_module._UPLOAD_BYTES) <= 10**9

    def test_every_commit_has_the_arguments_of_the_batch(self, repo):
        emitted: list[Any] = []
        api = ThrottledHfApi(repo.hub.url, TOKEN, hooks=[emitted.append])
        api.create_branch(repo.id, branch="v1", repo_type="dataset")
        repo.hub.answer(429, on="commit")
        with repo.batch(api, commit_description="all of it", revision="v1", source="ambientcg") as batch:
            batch.add("a.txt", b"a")
        assert [event.source for event in emitted] == ["ambientcg"]
        (made,) = repo.commits
        (newest, *_) = repo.api.list_repo_commits(repo.id, repo_type="dataset", revision="v1")
        assert (made.revision, newest.commit_id, newest.message) == ("v1", batch.commits[0].oid, "all of it")

    def test_a_commit_that_was_recovered_is_one_of_the_batch(self, repo):
        api = ThrottledHfApi(repo.hub.url, TOKEN, retry=RetryPolicy(recover=True), hooks=[])
        repo.hub.drop(on="commit", applied=True)
        with repo.batch(api) as batch:
            batch.add("a.txt", b"a")
            info = batch.flush()
        assert info is not None
        assert [info.oid] == [info.oid for info in batch.commits] == [commit.oid for commit in repo.commits]

    def test_unchanged_files_make_no_commit(self, repo):
        for _ in range(2):
            with repo.batch() as batch:
                batch.add("a.txt", b"a")
                batch.add("a.bin", b"a")
        assert batch.commits == []
        assert repo.sizes == [2]


class TestLikeAFileSystem:
    def test_the_later_of_two_files_for_a_path_counts(self, repo, recwarn):
        with repo.batch() as batch:
            batch.add("a.txt", b"first")
            batch.add("a.txt", b"second")
        assert repo.read("a.txt") == b"second"
        assert not recwarn.list

    def test_the_later_file_counts_if_the_first_is_uploaded(self, repo):
        with repo.batch(max_bytes=1000) as batch:
            batch.add("a.bin", os.urandom(2000))
            batch.add("a.bin", b"second")
        assert repo.read("a.bin") == b"second"
        assert repo.sizes == [1]

    def test_delete_then_add(self, repo):
        repo.commit(a=b"old")
        with repo.batch() as batch:
            batch.delete("a.txt")
            batch.add("a.txt", b"new")
        assert repo.read("a.txt") == b"new"

    def test_add_then_delete_what_the_hub_has(self, repo, warnings):
        repo.commit(a=b"old", b=b"b")
        with repo.batch() as batch:
            batch.add("a.txt", b"new")
            batch.delete("a.txt")
        assert repo.files == {"b.txt"}
        assert not warnings.records

    def test_add_then_delete_what_the_hub_does_not_have(self, repo):
        with repo.batch() as batch:
            batch.add("a.txt", b"a")
            batch.add("b.txt", b"b")
            batch.delete("a.txt")
        assert repo.files == {"b.txt"}

    def test_delete_a_folder_with_what_was_added_to_it(self, repo, recwarn):
        repo.commit(old__a=b"a", old__b__c=b"c", older=b"o")
        with repo.batch() as batch:
            batch.add("old/new.txt", b"new")
            batch.delete("old/a.txt")
            batch.delete("old/")
        assert repo.files == {"older.txt"}
        assert not recwarn.list

    def test_an_unchanged_file_is_put_back_into_a_deleted_folder(self, repo):
        repo.commit(old__a=b"a", old__b=b"b", other=b"o")
        with repo.batch() as batch:
            batch.delete("old/")
            batch.add("old/a.txt", b"a")
            batch.add("old/c.txt", b"c")
            batch.delete("old/c.txt")
            batch.add("other.txt", b"O")
        assert repo.files == {"old/a.txt", "other.txt"}
        assert repo.read("old/a.txt") == b"a"

    def test_deleting_what_does_not_exist_is_a_warning(self, repo, warnings):
        repo.commit(folder__a=b"a")
        with repo.batch() as batch:
            batch.delete("missing.txt")
            batch.delete("missing/")
            batch.delete("folder")  # a folder ends in "/"
            batch.add("b.txt", b"b")
        assert repo.files == {"folder/a.txt", "b.txt"}
        assert [record.getMessage() for record in warnings.records] == [
            f"{repo.id} has no file missing.txt to delete.",
            f"{repo.id} has no folder missing/ to delete.",
            f"{repo.id} has no file folder to delete.",
        ]

    def test_only_deletions(self, repo):
        repo.commit(a=b"a", b=b"b")
        with repo.batch() as batch:
            batch.delete("a.txt")
        assert repo.files == {"b.txt"}
        assert len(batch.commits) == 1


class TestContent:
    @pytest.mark.parametrize("make", [bytes, bytearray, memoryview, io.BytesIO], ids=lambda make: make.__name__)
    def test_from_memory(self, repo, make):
        with repo.batch() as batch:
            batch.add("a.txt", make(b"content"))
        assert repo.read("a.txt") == b"content"

    @pytest.mark.parametrize("make", [str, lambda path: path], ids=["str", "Path"])
    def test_from_a_local_file(self, repo, tmp_path, make):
        (tmp_path / "a").write_bytes(b"content")
        with repo.batch() as batch:
            batch.add("a.txt", make(tmp_path / "a"))
        assert repo.read("a.txt") == b"content"

    @pytest.mark.parametrize("path", ["a.txt", "a.bin"])
    def test_from_a_stream_at_any_position_that_is_closed_at_once(self, repo, tmp_path, path):
        (tmp_path / "a").write_bytes(b"content")
        with repo.batch() as batch, (tmp_path / "a").open("rb") as stream:
            stream.read(3)
            batch.add(path, stream)
            stream.close()
        assert repo.read(path) == b"content"

    def test_from_a_stream_that_is_too_long_for_memory(self, repo, tmp_path, monkeypatch):
        monkeypatch.setattr(staging, "STREAM_IN_MEMORY", 1000)
        content = os.urandom(5000)
        (tmp_path / "a").write_bytes(content)
        with repo.batch() as batch:
            with (tmp_path / "a").open("rb") as stream:
                stream.read(3)
                batch.add("a.bin", stream)
            (tmp_path / "a").unlink()
        assert repo.read("a.bin") == content

    def test_a_long_stream_that_gitignore_excludes(self, repo, monkeypatch):
        monkeypatch.setattr(staging, "STREAM_IN_MEMORY", 1000)
        with repo.batch() as batch:
            batch.add(".gitignore", b"*.bin\n")
            batch.flush()
            batch.add("a.bin", io.BytesIO(os.urandom(5000)))
            batch.add("b.txt", b"b")
        assert repo.files == {".gitignore", "b.txt"}

    def test_an_empty_file(self, repo):
        with repo.batch() as batch:
            batch.add("empty.bin", b"")
        assert repo.read("empty.bin") == b""


class TestUploads:
    def test_large_files_are_uploaded_together_as_they_are_added(self, repo):
        contents = {f"{number}.bin": os.urandom(30_000) for number in range(8)}
        with repo.batch(max_bytes=100_000) as batch:
            before = repo.hub.bytes_received
            for path, content in contents.items():
                batch.add(path, content)
            assert repo.hub.bytes_received - before >= 8 * 30_000
            assert (repo.seen("commit"), repo.seen("preupload")) == (0, 2)
        assert {path: repo.read(path) for path in contents} == contents
        assert (repo.seen("commit"), repo.seen("preupload")) == (1, 2)

    def test_uploaded_content_is_not_kept_in_memory(self, repo):
        with repo.batch(max_bytes=10_000) as batch:
            for number in range(4):
                batch.add(f"{number}.bin", os.urandom(9_000))
            held = [len(operation.path_or_fileobj) for operation in batch._staged.additions.values()]
        assert sum(held) <= 10_000

    def test_a_deleted_file_is_not_uploaded(self, repo):
        with repo.batch(max_bytes=150_000) as batch:
            before = repo.hub.bytes_received
            batch.add("a.bin", os.urandom(100_000))
            batch.delete("a.bin")
            batch.add("b.bin", os.urandom(60_000))
        assert repo.hub.bytes_received - before < 100_000

    def test_a_refusal_is_waited_out(self, repo, time):
        repo.hub.answer(429, headers={"Retry-After": "7"}, on="preupload")
        repo.hub.answer(429, body=commit_quota("1 minute").text, on="commit")
        with repo.batch(max_bytes=1000) as batch:
            batch.add("a.bin", os.urandom(2000))
            assert time.waits == [7]
        assert time.waits == [7, 90]
        assert repo.files == {"a.bin"}

    def test_the_files_of_a_failed_upload_stay_pending(self, repo):
        repo.hub.answer(403, on="preupload")
        with repo.batch(max_bytes=1000) as batch:
            with pytest.raises(HfHubHTTPError):
                batch.add("a.bin", os.urandom(2000))
            assert batch.pending == ["a.bin"]
        assert repo.files == {"a.bin"}


class TestFailures:
    def test_a_failed_commit_loses_nothing_and_uploads_nothing_twice(self, repo):
        content = os.urandom(100_000)
        repo.hub.answer(500, on="commit")
        with repo.batch() as batch:
            batch.add("a.txt", b"a")
            batch.add("a.bin", content)
            with pytest.raises(HfHubHTTPError) as caught:
                batch.flush()
            assert caught.value.response.status_code == 500
            assert batch.pending == ["a.txt", "a.bin"]
            assert batch.commits == []
            batch.add("b.txt", b"b")
            before = repo.hub.bytes_received
        assert repo.hub.bytes_received - before < 10_000
        assert repo.sizes == [3]
        assert repo.read("a.bin") == content

    def test_content_that_had_landed_behind_a_lost_answer_is_not_committed_again(self, repo):
        repo.hub.drop(on="commit", applied=True)
        with repo.batch() as batch:
            batch.add("a.txt", b"a")
            with pytest.raises(Exception):  # noqa: B017, PT011  # each HTTP library has its own
                batch.flush()
            assert batch.pending == ["a.txt"]
            info = batch.flush()
        assert repo.sizes == [1]
        assert [info.oid] == [info.oid for info in batch.commits] == [commit.oid for commit in repo.commits]

    def test_later_changes_count_after_a_failed_commit(self, repo):
        repo.commit(d=b"d")
        repo.hub.answer(500, on="commit")
        batch = repo.batch()
        for path in ("a.txt", "b.txt", "c.txt"):
            batch.add(path, b"first")
        with pytest.raises(HfHubHTTPError):
            batch.flush()
        batch.add("a.txt", b"second")
        batch.delete("b.txt")
        batch.delete("d.txt")
        batch.flush()
        assert repo.files == {"a.txt", "c.txt"}
        assert repo.read("a.txt") == b"second"

    def test_a_file_whose_add_raised_is_staged(self, repo):
        repo.hub.answer(500, on="commit")
        with repo.batch(max_files=2, limit=1) as batch:
            with pytest.raises(HfHubHTTPError):
                batch.add("a.txt", b"a")
            batch.add("b.txt", b"b")
        assert repo.sizes == [2]

    def test_a_batch_that_cannot_be_committed_takes_only_corrections_once_it_holds_enough(self, repo):
        repo.hub.answer(400, on="commit", times=4)
        with repo.batch(max_pending_bytes=1) as batch:
            for path, content in (("a.txt", b"x"), ("b.txt", b"x"), ("c.txt", b"x"), ("a.txt", b"corrected")):
                with pytest.raises(HfHubHTTPError):
                    batch.add(path, content)
            assert batch.pending == ["a.txt"]
        assert repo.files == {"a.txt"}
        assert repo.read("a.txt") == b"corrected"

    def test_a_repository_that_does_not_exist(self, repo):
        batch = CommitBatch(repo.api, "you/missing", commit_message="m")
        batch.add("a.txt", b"a")
        with pytest.raises(RepositoryNotFoundError):
            batch.flush()


def leave(batch: CommitBatch, error: BaseException, *paths: str, after: Any = lambda: None) -> None:
    """Add some files, and leave the batch by `error`."""
    with batch:
        for path in paths:
            batch.add(path, b"x")
        after()
        raise error


class TestLeavingByAnException:
    @pytest.fixture
    def five_minutes(self, time):
        return lambda: time.advance(300)

    def test_what_is_not_due_is_reported(self, repo, warnings):
        with pytest.raises(KeyError) as caught:
            leave(repo.batch(), KeyError("bug"), *(f"{number}.txt" for number in range(7)))
        report = (
            f"7 changes of this batch for {repo.id} not committed: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more."
            " Put them into a new batch."
        )
        assert repo.commits == []
        assert [record.getMessage() for record in warnings.records] == [report]
        if hasattr(caught.value, "add_note"):
            assert caught.value.__notes__ == [report]

    def test_what_is_due_is_committed(self, repo, five_minutes, warnings):
        with pytest.raises(KeyError):
            leave(repo.batch(), KeyError("bug"), "a.txt", "b.txt", after=five_minutes)
        assert repo.sizes == [2]
        assert not warnings.records

    def test_a_failed_commit_does_not_hide_the_exception(self, repo, five_minutes, warnings):
        repo.hub.answer(500, on="commit")
        with pytest.raises(KeyError, match="bug"):
            leave(repo.batch(), KeyError("bug"), "a.txt", after=five_minutes)
        assert [record.getMessage().split(":")[0] for record in warnings.records] == [
            "A commit of this batch failed",
            f"1 change of this batch for {repo.id} not committed",
        ]

    def test_ctrl_c_makes_no_commit(self, repo, five_minutes, warnings):
        with pytest.raises(KeyboardInterrupt):
            leave(repo.batch(), KeyboardInterrupt(), "a.txt", after=five_minutes)
        assert repo.seen("commit") == 0
        assert "not committed: a.txt." in warnings.text

    def test_a_failed_commit_is_not_repeated(self, repo, warnings):
        repo.hub.answer(500, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            leave(repo.batch(max_files=1), KeyError("never raised"), "a.txt")
        assert repo.seen("commit") == 1
        assert "not committed: a.txt." in warnings.text
        if hasattr(caught.value, "add_note"):
            assert "not committed: a.txt." in caught.value.__notes__[-1]

    def test_after_a_later_success_what_is_due_is_committed(self, repo, five_minutes):
        repo.hub.answer(500, on="commit")
        batch = repo.batch()
        batch.add("a.txt", b"a")
        with pytest.raises(HfHubHTTPError):
            batch.flush()
        batch.flush()
        with pytest.raises(KeyError):
            leave(batch, KeyError("bug"), "b.txt", after=five_minutes)
        assert repo.sizes == [1, 1]

    def test_the_commit_of_the_rest_fails(self, repo, warnings):
        repo.hub.answer(500, on="commit")
        batch = repo.batch()
        batch.add("a.txt", b"a")
        with pytest.raises(HfHubHTTPError), batch:
            pass
        assert "not committed: a.txt." in warnings.text
        batch.flush()
        assert repo.sizes == [1]


class TestMisuse:
    def test_a_dropped_batch_with_pending_changes_warns(self, repo):
        batch = repo.batch()
        batch.add("a.txt", b"a")
        with pytest.warns(ResourceWarning, match=f"A batch for {repo.id} was dropped with 1 change"):
            batch.__del__()

    def test_no_use_after_the_block(self, repo):
        with repo.batch() as batch:
            batch.add("a.txt", b"a")
        for late in (lambda: batch.add("b.txt", b"b"), lambda: batch.delete("a.txt")):
            with pytest.raises(ValueError, match=f"this batch for {repo.id} has been left"):
                late()
        assert repo.files == {"a.txt"}


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "names"),
        [
            ({"max_files": 0}, ValueError, "max_files"),
            ({"max_bytes": "100 MB"}, ValueError, "max_bytes"),
            ({"max_age": -1}, ValueError, "max_age"),
            ({"max_pending_bytes": 0}, ValueError, "max_pending_bytes"),
            ({"reserve": True}, ValueError, "reserve"),
            ({"max_age": float("nan")}, ValueError, "max_age"),
            ({"commit_message": ""}, ValueError, "commit_message"),
            ({"repo_type": "datasets"}, ValueError, "repo_type"),
            ({"source": 7}, TypeError, "source"),
            ({"create_pr": True}, TypeError, "create_pr"),
        ],
        ids=str,
    )
    def test_invalid_arguments_of_the_batch(self, arguments, error, names):
        with pytest.raises(error, match=names):
            CommitBatch(HfApi(), "you/textures", **{"commit_message": "m", **arguments})

    def test_an_invalid_repository(self):
        with pytest.raises(ValueError, match="not/a/repo"):
            CommitBatch(HfApi(), "not/a/repo", commit_message="m")

    @pytest.mark.parametrize(
        ("path", "content", "error"),
        [
            ("", b"", ValueError),
            ("/etc/passwd", b"", ValueError),
            ("a/../../b", b"", ValueError),
            ("./a", b"", ValueError),
            ("a//b", b"", ValueError),
            ("folder/", b"", ValueError),
            (".git/config", b"", ValueError),
            (None, b"", TypeError),
            ("a.txt", "/no/such/file", ValueError),
            ("a.txt", None, TypeError),
            pytest.param("a.txt", io.StringIO("text"), TypeError, id="a-text-stream"),
        ],
        ids=str,
    )
    def test_an_invalid_file_leaves_the_batch_usable(self, repo, path, content, error):
        with repo.batch() as batch:
            with pytest.raises(error):
                batch.add(path, content)
            batch.add("good.txt", b"good")
        assert repo.files == {"good.txt"}

    @pytest.mark.parametrize(
        ("path", "error"), [("", ValueError), ("/", ValueError), ("../", ValueError), (None, TypeError)], ids=str
    )
    def test_an_invalid_deletion(self, path, error):
        with pytest.raises(error):
            CommitBatch(HfApi(), "you/textures", commit_message="m").delete(path)

    def test_a_long_stream_must_be_seekable(self, monkeypatch):
        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        monkeypatch.setattr(staging, "STREAM_IN_MEMORY", 10)
        batch = CommitBatch(HfApi(), "you/textures", commit_message="m")
        batch.add("short.bin", Pipe(b"short"))
        with pytest.raises(ValueError, match=r"cannot be rewound.*Save it to a file"):
            batch.add("long.bin", Pipe(b"more than that"))
        assert batch.pending == ["short.bin"]


class TestFolderLimit:
    @pytest.fixture(autouse=True)
    def small_folders(self, monkeypatch):
        monkeypatch.setattr(limits, "FOLDER_LIMIT", 10)
        monkeypatch.setattr(staging, "_COUNT_FOLDER_FROM", 5)

    def test_counts_the_files_of_the_repository(self, repo):
        repo.commit(brick__0=b"x", brick__1=b"x", brick__2=b"x", brick__more__x=b"x", other=b"x")
        with repo.batch() as batch:
            for number in range(2, 10):
                batch.add(f"brick/{number}.txt", b"x")
                batch.add(f"brick/deeper/{number}.txt", b"x")
            with pytest.raises(ValueError, match=r"'brick/10.txt': the folder 'brick' already has 10 files"):
                batch.add("brick/10.txt", b"x")
            assert repo.seen("tree") == 2
            batch.add("brick/9.txt", b"not a new file")
            batch.delete("brick/0.txt")
            batch.add("brick/10.txt", b"x")
            batch.delete("brick/deeper/")
            for number in range(10, 20):
                batch.add(f"brick/deeper/{number}.txt", b"x")
        assert len(repo.files) == 10 + 10 + 1 + 1

    def test_files_to_be_deleted_do_not_count(self, repo):
        repo.commit(**{f"a__{number}": b"x" for number in range(10)})
        with repo.batch() as batch:
            batch.delete("a/")
            for number in range(10):
                batch.add(f"a/new-{number}.txt", b"x")
        assert len(repo.files) == 10

    def test_the_root_folder(self, repo):
        repo.commit(**{f"old_{number}": b"x" for number in range(5)})
        batch = repo.batch()
        for number in range(4):
            batch.add(f"{number}.txt", b"x")  # and .gitattributes
        with pytest.raises(ValueError, match=r"the folder '/' already has 10 files"):
            batch.add("4.txt", b"x")


class SlowApi(ThrottledHfApi):
    """Stops each commit until the test lets it continue."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, hooks=[], **kwargs)
        self.in_flight, self.may_continue = threading.Event(), threading.Event()

    def create_commit(self, *args: Any, **kwargs: Any) -> Any:
        self.in_flight.set()
        assert self.may_continue.wait(timeout=60)
        return super().create_commit(*args, **kwargs)


class ReportingLock:
    """A lock that sets an event before it blocks."""

    def __init__(self, blocked: threading.Event) -> None:
        self._lock = threading.Lock()
        self._blocked = blocked

    def acquire(self, blocking: bool = True) -> bool:
        if self._lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        self._blocked.set()
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class TestInTheBackground:
    """Inside a `with` block, `add` does not wait for the Hub."""

    def slow(self, repo, **kwargs: Any) -> tuple[SlowApi, CommitBatch]:
        api = SlowApi(repo.hub.url, TOKEN)
        return api, repo.batch(api, background=True, max_files=5, **kwargs)

    def test_add_returns_while_a_commit_waits(self, repo):
        api, batch = self.slow(repo)
        with batch:
            batch.add("first.txt", b"x")
            assert api.in_flight.wait(timeout=60)
            for number in range(50):
                batch.add(f"{number}.txt", b"x")
            assert len(batch.pending) == 51
            api.may_continue.set()
        assert len(repo.files) == 51
        assert max(repo.sizes) <= 5
        assert batch.pending == []

    def test_large_files_are_uploaded_while_a_commit_waits(self, repo):
        api, batch = self.slow(repo, max_bytes=1000)
        with batch:
            batch.add("first.txt", b"x")
            assert api.in_flight.wait(timeout=60)
            for number in range(4):
                batch.add(f"{number}.bin", os.urandom(2000))
            while repo.seen("lfs-batch") + repo.seen("xet-token") < 2:
                batch.add("later.bin", os.urandom(2000))
            api.may_continue.set()
        assert len(repo.files) == 6

    def test_add_waits_once_enough_is_pending(self, repo):
        api, batch = self.slow(repo, max_pending_bytes=50_000)
        with batch:
            batch.add("first.txt", b"x")
            assert api.in_flight.wait(timeout=60)
            adder = threading.Thread(target=lambda: [batch.add(f"{n}.txt", b"x" * 1000) for n in range(30)])
            adder.start()
            with batch._changed:
                assert batch._changed.wait_for(lambda: batch._held >= 50_000, timeout=60)
            assert len(batch.pending) < 30
            api.may_continue.set()
            adder.join(timeout=60)
        assert len(repo.files) == 31

    def test_a_failure_is_raised_by_the_next_add(self, repo):
        repo.hub.answer(400, on="commit")
        with repo.batch(background=True) as batch:
            batch.add("0.txt", b"x")
            for number in range(1, 26):  # a tenth of the first commit makes it due
                batch.add(f"{number}.txt", b"x")
            with batch._changed:
                assert batch._changed.wait_for(lambda: batch._background._failure, timeout=60)
            with pytest.raises(HfHubHTTPError):
                batch.add("lost.txt", b"x")
            assert len(batch.pending) == 26
        assert repo.files == {f"{number}.txt" for number in range(26)}

    def test_a_failure_is_raised_on_leaving(self, repo, warnings):
        class FailingApi(HfApi):
            def create_commit(self, *args: Any, **kwargs: Any) -> Any:
                raise ConnectionError("down")

        batch = repo.batch(FailingApi(repo.hub.url, TOKEN), background=True, max_files=1)
        with pytest.raises(ConnectionError, match="down"), batch:
            batch.add("a.txt", b"x")
        assert "not committed: a.txt." in warnings.text

    def test_ctrl_c_ends_a_commit_that_waits(self, repo, warnings):
        """The wait of an hour is called off, no thread is left, and what is pending is reported."""
        emitted = threading.Event()
        api = ThrottledHfApi(repo.hub.url, TOKEN, hooks=[lambda event: emitted.set()])
        with real_time():
            repo.hub.spend(repo.id, 128, repo_type="dataset")
            batch = repo.batch(api, background=True, max_files=1)
            with pytest.raises(KeyboardInterrupt):
                leave(batch, KeyboardInterrupt(), "a.txt", after=lambda: emitted.wait(timeout=60))
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("mat_vis_hub-commit")]
        assert "not committed: a.txt." in warnings.text
        api.create_repo(f"{repo.id}-later", repo_type="dataset")  # the object goes on working

    def test_a_change_is_committed_by_age_without_another_call(self, repo):
        with real_time(), repo.batch(background=True, max_age=0.01) as batch:
            batch.add("a.txt", b"x")
            with batch._changed:
                assert batch._changed.wait_for(lambda: batch._commits, timeout=60)
            assert repo.sizes == [1]

    def test_nothing_outlives_the_block(self, repo):
        before = set(threading.enumerate())
        with repo.batch(background=True) as batch:
            batch.add("a.txt", b"x")
        assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("mat_vis_hub")]


@contextlib.contextmanager
def real_time():
    before, clock.current = clock.current, clock.Clock()
    try:
        yield
    finally:
        clock.current = before


class TestEagerness:
    """The budget decides how eager a batch is."""

    def test_near_the_limit_few_commits_are_made(self, repo):
        api = ThrottledHfApi(repo.hub.url, TOKEN, budget="memory://?limit=10", hooks=[])
        for number in range(9):
            api.upload_file(path_or_fileobj=b"x", path_in_repo=f"old/{number}", repo_id=repo.id, repo_type="dataset")
        with repo.batch(api) as batch:
            for number in range(200):
                batch.add(f"{number}.txt", b"x")
        assert repo.sizes == [200]

    def test_without_a_budget_the_commits_of_this_process_count(self, repo, time):
        api = ThrottledHfApi(repo.hub.url, TOKEN, hooks=[])
        for number in range(64):
            api.upload_file(path_or_fileobj=b"x", path_in_repo=f"old/{number}", repo_id=repo.id, repo_type="dataset")
        with repo.batch(api) as batch:
            for number in range(200):
                batch.add(f"{number}.txt", b"x")
        assert repo.sizes == [200]

    def test_a_reserve_is_left_to_others(self, repo, time):
        api = ThrottledHfApi(repo.hub.url, TOKEN, budget="memory://?limit=10", hooks=[])
        with repo.batch(api, reserve=2, max_files=10, max_age=1) as batch:
            for number in range(79):
                batch.add(f"{number}.txt", b"x")
                time.advance(2)
            assert len(batch.commits) <= 8
            began = time.now()
            api.upload_file(path_or_fileobj=b"x", path_in_repo="manifest", repo_id=repo.id, repo_type="dataset")
            assert time.now() - began < 60
        assert len(repo.files) == 80  # the rest has waited for the next window
        assert time.now() > 3600


class TestVerify:
    def test_all_is_there(self, repo):
        with repo.batch(max_bytes=1000) as batch:
            batch.add("a.txt", b"a")
            batch.add("a.bin", os.urandom(2000))
            batch.add("empty.txt", b"")
            batch.add("gone.txt", b"x")
            batch.flush()
            batch.delete("gone.txt")
        before = len(repo.hub.requests)
        assert batch.verify() == []
        assert len(repo.hub.requests) - before == 1

    def test_what_differs_is_named(self, repo):
        with repo.batch() as batch:
            batch.add("a.txt", b"a")
            batch.add("b.txt", b"b")
        batch._landed["a.txt"] = bytes(20)
        batch._landed["missing.txt"] = bytes(20)
        batch._landed["b.txt"] = None
        assert batch.verify() == ["a.txt", "b.txt", "missing.txt"]


class TestThreads:
    def test_eight_threads_add(self, repo):
        def work(number: int) -> None:
            for file in range(25):
                batch.add(f"{number}/{file}.txt", b"x")
                batch.add(f"{number}/{file}.bin", os.urandom(200))

        with repo.batch(max_files=50, max_bytes=10_000, limit=4) as batch:
            threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=60)
        assert len(repo.files) == 8 * 50
        assert sum(repo.sizes) == 8 * 50
        assert max(repo.sizes) <= 50
        assert len(batch.commits) == len(repo.commits)

    def test_a_commit_that_keeps_failing_does_not_grow(self, repo):
        attempts: list[int] = []
        others: list[threading.Thread] = []

        blocked = threading.Event()

        class FailingApi(HfApi):
            def create_commit(self, *args: Any, operations: list[Any], **kwargs: Any) -> Any:
                attempts.append(len(operations))
                if threading.current_thread() is threading.main_thread():
                    others.append(threading.Thread(target=add_five))
                    others[-1].start()
                    assert blocked.wait(timeout=60)
                    blocked.clear()
                raise ConnectionError

        def add_five() -> None:
            with contextlib.suppress(ConnectionError):
                for _ in range(5):
                    batch.add(f"{next(numbers)}.txt", b"x")

        batch = repo.batch(FailingApi(repo.hub.url, TOKEN), max_files=5)
        batch._commit_lock = ReportingLock(blocked)  # else the test would have to guess when the others wait
        with pytest.raises(ConnectionError):
            batch.add("first.txt", b"x")
        for _ in range(4):
            with pytest.raises(ConnectionError):
                batch.flush()
        for other in others:
            other.join(timeout=60)
        assert max(attempts) == 5

    def test_other_threads_add_and_upload_while_a_commit_waits(self, repo):
        api = SlowApi(repo.hub.url, TOKEN)
        batch = repo.batch(api, max_files=5, max_bytes=1000, limit=1)
        committer = threading.Thread(target=batch.add, args=("first.txt", b"x"))
        committer.start()
        assert api.in_flight.wait(timeout=60)
        for number in range(4):
            batch.add(f"{number}.bin", os.urandom(1000))  # does not wait for the commit
        assert batch.pending == ["first.txt", "0.bin", "1.bin", "2.bin", "3.bin"]
        assert repo.seen("preupload") == 5
        rest = threading.Thread(target=lambda: [batch.add(f"{number}.txt", b"x") for number in range(4)])
        rest.start()
        api.may_continue.set()
        for thread in (committer, rest):
            thread.join(timeout=60)
        batch.flush()
        assert repo.sizes[0] == 1
        assert sum(repo.sizes) == 9
        assert max(repo.sizes) <= 5

    @pytest.mark.parametrize("stream", [False, True], ids=["bytes", "long stream"])
    def test_a_path_of_a_commit_in_flight_can_be_changed_back(self, repo, monkeypatch, stream):
        if stream:
            monkeypatch.setattr(staging, "STREAM_IN_MEMORY", 10)
        first, second = os.urandom(100), os.urandom(100)
        with repo.batch() as batch:
            batch.add("a.bin", first)
        api = SlowApi(repo.hub.url, TOKEN)
        batch = repo.batch(api, max_bytes=50)
        batch.add("a.bin", second)
        committer = threading.Thread(target=batch.flush)
        committer.start()
        assert api.in_flight.wait(timeout=60)
        changer = threading.Thread(target=batch.add, args=("a.bin", io.BytesIO(first) if stream else first))
        changer.start()
        api.may_continue.set()
        for thread in (committer, changer):
            thread.join(timeout=60)
        batch.flush()
        assert repo.read("a.bin") == first


@pytest.mark.usefixtures("progress_bars")
class TestProgress:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def test_a_terminal_shows_files_and_commits(self, repo, monkeypatch):
        monkeypatch.setattr(sys, "stderr", terminal := self.Terminal())
        with repo.batch() as batch:
            batch.add("a.txt", b"a")
            batch.add("b.txt", b"b")
        last = terminal.getvalue().strip().split("\r")[-1]
        assert f"{repo.id}: 2 files" in last
        assert "commits=1, pending=0" in last

    def test_a_log_shows_nothing(self, repo, capsys):
        with repo.batch() as batch:
            batch.add("a.txt", b"a")
        assert capsys.readouterr() == ("", "")
