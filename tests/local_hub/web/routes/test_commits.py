"""Preupload, commit, super-squash."""

import base64
import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationCopy as Copy
from huggingface_hub import CommitOperationDelete as Delete
from huggingface_hub.utils import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.local_hub.conftest import ndjson

COMMIT = "/api/datasets/you/scratch/commit/main"
PREUPLOAD = "/api/datasets/you/scratch/preupload/main"
LARGE = b"large\0" * 1000


@pytest.fixture
def files(api, repo, ask):
    """Return the files of a branch: path -> content."""

    def files(revision="main"):
        paths = api.list_repo_files(**repo, revision=revision)
        address = f"/datasets/you/scratch/resolve/{revision.replace('/', '%2F')}/"
        return {path: ask("GET", address + path).body for path in paths if path != ".gitattributes"}

    return files


# ---- preupload -------------------------------------------------------------------------------------------


def preupload(ask, *files, **body):
    answer = ask("POST", PREUPLOAD, {"files": [{"path": path, "size": size} for path, size in files], **body})
    return {file["path"]: file for file in answer.json["files"]}


def test_gitattributes_and_size_decide_whether_a_file_is_lfs(repo, ask):
    instructions = preupload(ask, ("a.txt", 3), ("a.png", 3), ("big.txt", 10 << 20), ("bigger.txt", (10 << 20) + 1))
    assert {path: file["uploadMode"] for path, file in instructions.items()} == {
        "a.txt": "regular",
        "a.png": "lfs",
        "big.txt": "regular",
        "bigger.txt": "lfs",
    }


def test_a_repository_can_have_its_own_gitattributes(repo, commit, ask):
    commit(Add(".gitattributes", b"*.txt filter=lfs\n"))
    instructions = preupload(ask, ("a.txt", 3), ("a.png", 3))
    assert [file["uploadMode"] for file in instructions.values()] == ["lfs", "regular"]


def test_gitignore_is_applied_from_the_request_or_the_repository(repo, commit, ask):
    assert preupload(ask, ("a.log", 1), gitIgnore="*.log")["a.log"]["shouldIgnore"]
    commit(Add(".gitignore", b"*.log"), Add("b.log", b"x"))
    assert preupload(ask, ("a.log", 1))["a.log"]["shouldIgnore"]
    assert not preupload(ask, ("a.log", 1), gitIgnore="")["a.log"]["shouldIgnore"]


def test_ignored_files_are_not_committed(files, commit):
    commit(Add(".gitignore", b"*.log"), Add("a.log", b"x"), Add("b.txt", b"x"))
    assert set(files()) == {".gitignore", "b.txt"}


def test_preupload_returns_the_ids_of_existing_files(commit, ask):
    commit(Add("a.txt", b"abc"), Add("a.png", LARGE))
    instructions = preupload(ask, ("a.txt", 3), ("a.png", 3), ("b", 3))
    assert instructions["a.txt"]["oid"] == "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"
    assert instructions["a.png"]["oid"] == hashlib.sha256(LARGE).hexdigest()
    assert "oid" not in instructions["b"]


def test_unchanged_files_make_no_commit(local_hub, commit):
    first = commit(Add("a.txt", b"abc"), Add("a.png", LARGE))
    again = commit(Add("a.txt", b"abc"), Add("a.png", LARGE))
    assert again.oid == first.oid
    assert len(local_hub.commits) == 1


# ---- commit ----------------------------------------------------------------------------------------------


def test_large_and_small_files_arrive_unchanged(files, commit):
    commit(Add("a.txt", b"abc"), Add("deep/down/a.png", LARGE), Add("stream.bin", io.BytesIO(LARGE)), Add("0.png", b""))
    assert files() == {"a.txt": b"abc", "deep/down/a.png": LARGE, "stream.bin": LARGE, "0.png": b""}


def test_paths_can_have_any_characters(files, commit, api, repo):
    commit(Add("ä/ö ü#%2F?.txt", b"x"))
    assert api.file_exists(filename="ä/ö ü#%2F?.txt", **repo)


def test_the_answer_has_the_id_and_address_of_the_commit(local_hub, commit):
    made = commit(Add("a", b"x"), message="why", commit_description="because")
    assert re.fullmatch("[0-9a-f]{40}", made.oid)
    assert made.commit_url == f"{local_hub.url}/datasets/you/scratch/commit/{made.oid}"
    assert made.repo_url.repo_id == "you/scratch"
    assert made.pr_url is None


def test_equal_commits_have_different_ids(api, repo, commit):
    made = []
    for branch in ("a", "b"):
        api.create_branch(branch=branch, **repo)
        made.append(commit(Add("f", b"x"), revision=branch).oid)
    assert made[0] != made[1]


def test_files_and_folders_can_be_deleted(files, commit):
    commit(Add("a/1", b"x"), Add("a/b/2", b"x"), Add("c", b"x"), Add("d", b"x"))
    commit(Delete("a/"), Delete("c"))
    assert set(files()) == {"d"}


@pytest.mark.parametrize("operation", [Delete("b"), Delete("a/1/"), Delete("b/")])
def test_a_missing_file_or_folder_cannot_be_deleted(commit, operation):
    commit(Add("a/1", b"x"))
    with pytest.raises(EntryNotFoundError, match="with this name doesn't exist"):
        commit(operation)


def test_a_folder_can_be_deleted_without_saying_that_it_is_one(files, commit):
    commit(Add("a/1", b"x"), Add("a/b/2", b"x"), Add("c", b"x"))
    commit(Delete("a", is_folder=False))
    assert set(files()) == {"c"}


def test_one_commit_can_replace_a_folder(files, commit):
    commit(Add("a/1", b"x"), Add("a/2", b"x"))
    commit(Delete("a/"), Add("a/3", b"x"))
    assert set(files()) == {"a/3"}


def test_a_path_cannot_be_a_file_and_a_folder_at_once(files, commit):
    with pytest.raises(BadRequestError, match="a cannot be a file and a folder at once: a/b/c"):
        commit(Add("a", b"1"), Add("a/b/c", b"2"))
    commit(Add("a", b"1"))
    commit(Add("a/b", b"2"))  # a file gives way to a folder of its name, and the other way round, as in git
    assert files() == {"a/b": b"2"}
    commit(Add("a", b"3"))
    assert files() == {"a": b"3"}


def test_operations_are_applied_in_order(repo, ask, files):
    def file(text):
        return ("file", {"path": "f/a", "content": text, "encoding": "utf-8"})

    assert ask("POST", COMMIT, ndjson(file("1"), ("deletedFile", {"path": "f/a"}), file("2"))).status == 200
    assert files() == {"f/a": b"2"}
    assert ask("POST", COMMIT, ndjson(file("3"), ("deletedFolder", {"path": "f/"}))).status == 200
    assert files() == {}


def test_copies_need_no_upload(local_hub, files, commit):
    commit(Add("a.txt", b"abc"), Add("a.png", LARGE))
    uploads = [seen for seen in local_hub.requests if seen.endpoint == "lfs-upload"]
    commit(Copy("a.txt", "b.txt"), Copy("a.png", "b/b.png"))
    assert files() == {"a.txt": b"abc", "b.txt": b"abc", "a.png": LARGE, "b/b.png": LARGE}
    assert [seen for seen in local_hub.requests if seen.endpoint == "lfs-upload"] == uploads


def test_an_empty_commit_is_a_commit(local_hub, api, repo, ask):
    before = api.repo_info(**repo).sha
    made = ask("POST", COMMIT, ndjson()).json
    assert made["success"] is True
    assert api.repo_info(**repo).sha == made["commitOid"] != before


@pytest.mark.parametrize("length", [7, 40])
def test_parent_commit_is_a_compare_and_swap(commit, length):
    parent = commit(Add("a", b"1"))
    commit(Add("a", b"2"), parent_commit=parent.oid[:length])
    with pytest.raises(HfHubHTTPError, match=r"The branch was updated since.* try again\.") as caught:
        commit(Add("a", b"3"), parent_commit=parent.oid[:length])
    assert caught.value.response.status_code == 412


def test_a_commit_needs_a_repository_and_a_branch(commit, api, repo):
    with pytest.raises(RepositoryNotFoundError, match="404"):
        commit(Add("a", b"x"), repo_id="you/other")
    with pytest.raises(RevisionNotFoundError, match="Invalid rev id: v9"):
        commit(Add("a", b"x"), revision="v9")


def test_an_lfs_file_must_be_uploaded_first(local_hub, repo, ask):
    answer = ask("POST", COMMIT, ndjson(("lfsFile", {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 1})))
    assert answer.status == 400
    assert "an LFS pointer pointed to a file that does not exist" in answer.json["error"]
    assert answer.json["error"].endswith("Offending file: - a.bin")
    assert local_hub.commits == []


def test_a_failed_commit_changes_nothing(files, commit):
    with pytest.raises(EntryNotFoundError):
        commit(Add("a", b"x"), Delete("missing"))
    assert files() == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        ndjson(("file", {"path": "a"})),
        ndjson(("file", {"path": "a", "content": "%", "encoding": "base64"})),
        ndjson(("file", {"path": "a//b", "content": ""})),
        ndjson(("lfsFile", {"path": "a", "oid": "../../etc"})),
        ndjson(("renamedFile", {"path": "a"})),
        ndjson(summary=""),
        ndjson(("header", {"summary": "another"})),
        ndjson(("file", {"path": "a", "content": ""})).split(b"\n", 1)[1],
    ],
)
def test_a_malformed_commit_is_refused(repo, ask, body):
    answer = ask("POST", COMMIT, body)
    assert answer.status == 400
    assert answer.json["error"]


@pytest.mark.parametrize("path", ["../a", "a/../../b", "..\\a", "a\\..\\b", ".git/hooks/pre-commit"])
def test_a_path_that_could_leave_the_folder_is_refused(repo, ask, path):
    answer = ask("POST", COMMIT, ndjson(("file", {"path": path, "content": ""})))
    assert answer.status == 422
    assert "Invalid path" in answer.json["error"]


def test_a_commit_with_a_bad_card_is_refused(repo, ask, files):
    card = {"path": "README.md", "content": "---\nlicense: apache2\n---\n", "encoding": "utf-8"}
    answer = ask("POST", COMMIT, ndjson(("file", card)))
    assert (answer.status, answer.json["error"][:27]) == (400, '"license" must be one of [a')
    assert files() == {}
    assert ask("POST", COMMIT, ndjson(("file", {**card, "path": "docs/README.md"}))).status == 200


def test_a_file_that_was_sent_unchanged_is_not_part_of_the_commit(local_hub, api, repo, ask):
    def file(path, text):
        return ("file", {"path": path, "content": text, "encoding": "utf-8"})

    assert ask("POST", COMMIT, ndjson(file("a", "1"), file("b", "1"), summary="first")).status == 200
    assert ask("POST", COMMIT, ndjson(file("a", "1"), file("b", "2"), summary="second")).status == 200
    titles = {info.path: info.last_commit.title for info in api.get_paths_info(paths=["a", "b"], expand=True, **repo)}
    assert titles == {"a": "first", "b": "second"}
    assert local_hub.commits[-1].paths == ("b",)


def test_ids_are_the_same_in_any_case(local_hub, files, api, repo, commit):
    commit(Add("a.txt", b"x"), Add("b.bin", LARGE), repo_id="You/SCRATCH")
    assert set(files()) == {"a.txt", "b.bin"}
    assert [seen.repo for seen in local_hub.commits] == ["you/scratch"]
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo("you/Scratch", repo_type="dataset")


def test_a_bad_request_names_the_endpoint(commit, local_hub):
    local_hub.answer(400, body={"error": "no"}, on="commit")
    with pytest.raises(BadRequestError, match="Bad request for commit endpoint"):
        commit(Add("a", b"x"))


@pytest.mark.local_hub(commit_time=0)
def test_concurrent_commits_are_all_applied_if_they_take_no_time(local_hub, api, repo, ask):
    def write(number):
        content = base64.b64encode(b"x").decode()
        return ask("POST", COMMIT, ndjson(("file", {"path": f"{number}", "content": content, "encoding": "base64"})))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(write, range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["commitOid"] for answer in answers}) == 100
    assert len(api.list_repo_commits(**repo)) == 101
    assert len(api.list_repo_files(**repo)) == 101


@pytest.mark.local_hub(limit=10, commit_time=0)
def test_concurrent_writers_get_exactly_what_the_limit_allows(local_hub, repo, ask):
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: ask("POST", COMMIT, ndjson()).status, range(50)))
    assert (statuses.count(200), statuses.count(429)) == (10, 40)
    assert (len(local_hub.commits), len(local_hub.refusals)) == (10, 40)


def test_of_concurrent_writers_with_the_same_parent_one_succeeds(local_hub, api, repo, ask):
    parent = api.repo_info(**repo).sha
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: ask("POST", COMMIT, ndjson(parentCommit=parent)).status, range(20)))
    assert (statuses.count(200), statuses.count(409) + statuses.count(412)) == (1, 19)
    assert len(local_hub.commits) == 1


# ---- super-squash ----------------------------------------------------------------------------------------


def test_a_squash_keeps_the_files_and_drops_the_history(files, api, repo, commit):
    commit(Add("a", b"1"))
    commit(Add("a", b"2"), Add("b/c", b"x"))
    api.super_squash_history(**repo, commit_message="squashed")
    (only,) = api.list_repo_commits(**repo)
    assert only.title == "squashed"
    assert files() == {"a": b"2", "b/c": b"x"}
    commit(Add("d", b"x"))
    assert set(files()) == {"a", "b/c", "d"}


@pytest.mark.local_hub(limit=1)
def test_a_squash_neither_counts_as_a_commit_nor_is_refused_as_one(local_hub, api, repo, commit):
    api.super_squash_history(**repo)
    commit(Add("a", b"1"))
    api.super_squash_history(**repo)
    assert len(api.list_repo_commits(**repo)) == 1
    assert [seen.message for seen in local_hub.commits] == ["a commit"]
    assert local_hub.refusals == []


def test_a_tag_cannot_be_squashed(api, repo):
    api.create_tag(tag="v1", **repo)
    for name in ("v1", "refs/tags/v1"):
        with pytest.raises(BadRequestError, match=f"Invalid reference for a branch: {name}"):
            api.super_squash_history(**repo, branch=name)
    with pytest.raises(RevisionNotFoundError):
        api.super_squash_history(**repo, branch="v2")
    api.create_branch(branch="v1", **repo)
    api.super_squash_history(**repo, branch="v1")
