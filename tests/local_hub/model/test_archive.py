"""What survives a restart of the Hub."""

import urllib.request

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationDelete as Delete
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import HfHubHTTPError

from mat_vis_hub.local_hub import LocalHub

LARGE = b"large\0" * 1000
REPO = {"repo_id": "you/scratch", "repo_type": "dataset"}


@pytest.fixture
def hub_in(monkeypatch):
    """Start a Hub whose repositories are in a folder: `with hub_in(folder) as (hub, api)`."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)

    class HubIn(LocalHub):
        def __enter__(self):
            self.start()
            monkeypatch.setattr(constants, "ENDPOINT", self.url)
            return self, HfApi(endpoint=self.url, token="hf_local")

    return lambda folder, **options: HubIn(path=folder, **options)


def commit(api, *operations, **options):
    return api.create_commit(operations=operations, commit_message="a commit", **REPO, **options)


def state(api):
    """Everything that clients can read about the scratch repository."""
    info = api.repo_info(**REPO, files_metadata=True)
    return (
        (info.sha, info.private, info.created_at, info.siblings),
        api.list_repo_commits(**REPO),
        api.list_repo_refs(**REPO, include_pull_requests=True),
        list(api.list_repo_tree(**REPO, recursive=True, expand=True)),
        [api.get_discussion_details(discussion_num=num, **REPO).events for num in (1, 2)],
    )


def test_a_restart_changes_nothing(hub_in, tmp_path):
    with hub_in(tmp_path) as (_, api):
        api.create_repo(**REPO, private=True)
        commit(api, Add("a/1", b"1"), Add("a/2", b"2"), Add("b.bin", LARGE))
        commit(api, Delete("a/"), Add("c", b"3"))
        api.create_branch(branch="v1", **REPO)
        api.create_tag(tag="t1", **REPO)
        commit(api, Add("d", b"4"), create_pr=True)
        api.merge_pull_request(discussion_num=1, **REPO)
        api.create_discussion(title="why", **REPO)
        api.super_squash_history(branch="v1", **REPO)
        before = state(api)
    with hub_in(tmp_path) as (_, api):
        # The events of discussions are objects without `==`, so compare their text.
        assert repr(state(api)) == repr(before)
        made = commit(api, Add("e", b"5"))
        assert api.list_repo_commits(**REPO)[0].commit_id == made.oid
        address = f"{api.endpoint}/datasets/you/scratch/resolve/main/b.bin"
        request = urllib.request.Request(address, headers={"Authorization": "Bearer hf_local"})
        with urllib.request.urlopen(request) as answer:
            assert answer.read() == LARGE


def test_deleted_and_moved_repositories_stay_so(hub_in, tmp_path):
    with hub_in(tmp_path) as (_, api):
        for name in ("gone", "from"):
            api.create_repo(f"you/{name}")
        api.delete_repo("you/gone")
        api.move_repo("you/from", "you/to")
    with hub_in(tmp_path) as (_, api):
        assert [repo.id for repo in api.list_models()] == ["you/to"]


def test_the_limits_start_anew(hub_in, tmp_path):
    with hub_in(tmp_path, limit=1) as (_, api):
        api.create_repo(**REPO)
        commit(api, Add("a", b"1"))
        with pytest.raises(HfHubHTTPError, match="rate limit"):
            commit(api, Add("a", b"2"))
    with hub_in(tmp_path, limit=1) as (_, api):
        commit(api, Add("a", b"2"))


def test_unfinished_files_of_a_crash_are_deleted(hub_in, tmp_path):
    with hub_in(tmp_path) as (_, api):
        api.create_repo(**REPO)
        before = api.repo_info(**REPO).sha
    (folder,) = (tmp_path / "repos").iterdir()
    leftovers = [
        folder / "repo.unfinished",
        folder / "commits/0123.unfinished",
        tmp_path / "repos/never_finished/commits/0123.json",
        tmp_path / "lfs/incoming/0123",
    ]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"half": ')
    with hub_in(tmp_path) as (_, api):
        assert api.repo_info(**REPO).sha == before
        commit(api, Add("a", b"x"))
    assert not any(path.exists() for path in leftovers)


def test_an_unreferenced_commit_does_no_harm(hub_in, tmp_path):
    """A crash between the two writes of a commit leaves one."""
    with hub_in(tmp_path) as (_, api):
        api.create_repo(**REPO)
        before = api.repo_info(**REPO).sha
    (folder,) = (tmp_path / "repos").iterdir()
    refs = (folder / "repo.json").read_bytes()
    with hub_in(tmp_path) as (_, api):
        commit(api, Add("a", b"x"))
    (folder / "repo.json").write_bytes(refs)
    with hub_in(tmp_path) as (_, api):
        assert api.repo_info(**REPO).sha == before
        again = commit(api, Add("a", b"x"))
        assert api.list_repo_files(**REPO) == [".gitattributes", "a"]
    with hub_in(tmp_path) as (_, api):
        assert api.repo_info(**REPO).sha == again.oid


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"discussions": [{}]}', '{"discussions": []}'])
def test_a_damaged_repository_is_named(hub_in, tmp_path, content):
    folder = tmp_path / "repos/0123"
    folder.mkdir(parents=True)
    (folder / "repo.json").write_text(content)
    with pytest.raises(ValueError, match=f"The repository in {folder} is damaged .*: repair or delete it"):
        hub_in(tmp_path).start()
