"""Trees, history and files."""

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationDelete as Delete
from huggingface_hub.utils import EntryNotFoundError, RevisionNotFoundError

from tests.local_hub.conftest import CLOCK, ndjson

TREE = "/api/datasets/you/scratch/tree/main"
FILES = "/datasets/you/scratch/resolve/main"
LARGE = bytes(range(256)) * 40


# ---- the tree --------------------------------------------------------------------------------------------


def test_a_tree_lists_files_and_folders(api, repo, commit):
    commit(Add("a/b/c.txt", b"abc"), Add("a.bin", LARGE))
    top = {entry.path: entry for entry in api.list_repo_tree(**repo)}
    assert list(top) == [".gitattributes", "a", "a.bin"]
    assert len(top["a"].tree_id) == 40
    assert (top["a.bin"].size, top["a.bin"].lfs.size) == (len(LARGE), len(LARGE))
    assert [entry.path for entry in api.list_repo_tree(**repo, path_in_repo="a", recursive=True)] == [
        "a/b",
        "a/b/c.txt",
    ]
    (file,) = api.list_repo_tree(**repo, path_in_repo="a/b")
    assert (file.path, file.size, file.lfs) == ("a/b/c.txt", 3, None)
    assert file.blob_id == "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"


def test_an_expanded_tree_has_the_last_commit_of_each_entry(api, repo, commit):
    first = commit(Add("a/1", b"1"), Add("b", b"1"), message="first")
    second = commit(Add("a/2", b"1"), message="second")
    last = {entry.path: entry.last_commit for entry in api.list_repo_tree(**repo, recursive=True, expand=True)}
    assert {path: entry.oid for path, entry in last.items() if path != ".gitattributes"} == {
        "a": second.oid,
        "a/1": first.oid,
        "a/2": second.oid,
        "b": first.oid,
    }
    assert last["b"].title == "first"


def test_a_tree_needs_a_folder_and_a_revision(api, repo, commit):
    commit(Add("a.txt", b"x"))
    for path in ("nowhere", "a.txt"):
        with pytest.raises(EntryNotFoundError):
            list(api.list_repo_tree(**repo, path_in_repo=path))
    with pytest.raises(RevisionNotFoundError):
        list(api.list_repo_tree(**repo, revision="v9"))


@pytest.mark.parametrize(("expand", "pages"), [(False, 2), (True, 21)])
def test_long_listings_are_paged(local_hub, api, repo, ask, expand, pages):
    operations = [("file", {"path": f"{number:04}", "content": ""}) for number in range(1005)]
    assert ask("POST", "/api/datasets/you/scratch/commit/main", ndjson(*operations)).status == 200
    assert len(list(api.list_repo_tree(**repo, expand=expand))) == 1006
    assert [seen.endpoint for seen in local_hub.requests].count("tree") == pages


def test_all_pages_of_a_listing_are_of_one_commit(repo, commit, ask):
    commit(Add("a", b"x"), Add("b", b"x"))
    page = ask("GET", TREE + "?limit=2")
    commit(Delete("a"), Add("0", b"x"))
    address = page.headers["Link"].partition(">")[0].partition("/api")[2]
    rest = ask("GET", "/api" + address)
    assert [entry["path"] for entry in page.json + rest.json] == [".gitattributes", "a", "b"]
    assert rest.headers["Link"] is None
    assert ask("GET", TREE + "?cursor=nonsense").status == 400


def test_paths_info_describes_existing_paths(api, repo, commit):
    made = commit(Add("a/b.txt", b"abc"), Add("c.bin", LARGE))
    found = api.get_paths_info(paths=["a/b.txt", "nowhere", "a", "c.bin"], expand=True, **repo)
    assert [entry.path for entry in found] == ["a/b.txt", "a", "c.bin"]
    assert {entry.last_commit.oid for entry in found} == {made.oid}
    assert api.get_paths_info(paths="nowhere", **repo) == []


# ---- the history -----------------------------------------------------------------------------------------


@pytest.mark.local_hub(clock=CLOCK.now)
def test_the_history_is_newest_first(api, repo, commit):
    CLOCK.advance(60)
    made = commit(Add("a", b"x"), message="a title", commit_description="and more")
    newest, first = api.list_repo_commits(**repo, formatted=True)
    assert (newest.commit_id, newest.title, newest.message) == (made.oid, "a title", "and more")
    assert (newest.authors, newest.formatted_title) == (["local"], "a title")
    assert (first.title, (newest.created_at - first.created_at).total_seconds()) == ("initial commit", 60)


def test_a_long_history_is_paged(local_hub, api, repo, ask):
    for number in range(60):
        ask("POST", "/api/datasets/you/scratch/commit/main", ndjson(summary=f"{number}"))
    titles = [entry.title for entry in api.list_repo_commits(**repo)]
    assert titles == [f"{number}" for number in reversed(range(60))] + ["initial commit"]
    assert [seen.endpoint for seen in local_hub.requests].count("history") == 2
    page = ask("GET", "/api/datasets/you/scratch/commits/main?p=1&limit=2")
    assert [entry["title"] for entry in page.json] == ["57", "56"]
    assert page.headers["X-Total-Count"] == "61"


# ---- the files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.bin"])
def test_a_file_has_its_commit_etag_and_size(commit, ask, api, repo, name):
    made = commit(Add(name, LARGE))
    (info,) = api.get_paths_info(paths=name, **repo)
    for method, body in (("HEAD", b""), ("GET", LARGE)):
        answer = ask(method, f"{FILES}/{name}")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["X-Repo-Commit"] == made.oid
        assert answer.headers["ETag"] == f'"{info.lfs.sha256 if info.lfs else info.blob_id}"'
        assert answer.headers["Content-Length"] == str(len(LARGE))
        assert answer.headers["X-Linked-Size"] == (str(len(LARGE)) if info.lfs else None)
        assert answer.headers["X-Linked-Etag"] == (answer.headers["ETag"] if info.lfs else None)
        assert answer.headers["Content-Disposition"] == f'inline; filename="{name}"'


@pytest.mark.parametrize(
    ("wanted", "status", "part", "described"),
    [
        ("bytes=10-19", 206, LARGE[10:20], "10-19/10240"),
        ("bytes=10000-", 206, LARGE[10000:], "10000-10239/10240"),
        ("bytes=-5", 206, LARGE[-5:], "10235-10239/10240"),
        ("bytes=20000-", 416, b"", "*/10240"),
    ],
)
def test_ranges_of_a_file_can_be_read(commit, ask, wanted, status, part, described):
    commit(Add("a.bin", LARGE))
    answer = ask("GET", FILES + "/a.bin", headers={"Range": wanted})
    range_of_all = answer.headers["Content-Range"].removeprefix("bytes ")  # a 416 of older Starlettes has no unit
    assert (answer.status, answer.body, range_of_all) == (status, part, described)


def test_a_file_with_a_known_etag_is_not_sent(commit, ask):
    commit(Add("a.bin", LARGE))
    etag = ask("HEAD", FILES + "/a.bin").headers["ETag"]
    answer = ask("GET", FILES + "/a.bin", headers={"If-None-Match": etag})
    assert (answer.status, answer.body) == (304, b"")


def test_files_can_be_read_by_every_name_of_a_revision(api, repo, commit, ask):
    made = commit(Add("d/a.txt", b"on main"))
    api.create_tag(tag="v1", **repo)
    api.create_branch(branch="b/x", **repo)
    commit(Add("d/a.txt", b"proposed"), create_pr=True)
    commit(Add("d/a.txt", b"later"))
    for revision in ("v1", "b%2Fx", made.oid, made.oid[:7], "refs%2Fheads%2Fb%2Fx"):
        assert ask("GET", f"/datasets/you/scratch/resolve/{revision}/d/a.txt").body == b"on main"
    for revision in ("refs%2Fpr%2F1", "refs/pr/1"):
        assert ask("GET", f"/datasets/you/scratch/resolve/{revision}/d/a.txt").body == b"proposed"


def test_missing_files_revisions_and_repositories_have_different_errors(repo, ask):
    head = ask("HEAD", FILES + "/.gitattributes").headers["X-Repo-Commit"]
    missing = ask("HEAD", FILES + "/nowhere.txt")
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert missing.headers["X-Repo-Commit"] == head
    other = ask("HEAD", "/datasets/you/scratch/resolve/v9/a")
    assert (other.status, other.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    nothing = ask("HEAD", "/you/scratch/resolve/main/a")
    assert (nothing.status, nothing.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_downloads_and_snapshots_work(api, repo, commit, tmp_path):
    commit(Add("a/b.txt", b"abc"), Add("c.bin", LARGE))
    path = api.hf_hub_download(filename="c.bin", cache_dir=tmp_path / "one", **repo)
    with open(path, "rb") as file:
        assert file.read() == LARGE
    folder = api.snapshot_download(local_dir=tmp_path / "all", cache_dir=tmp_path / "two", **repo)
    assert (tmp_path / "all/a/b.txt").read_bytes() == b"abc"
    assert str(folder) == str(tmp_path / "all")
