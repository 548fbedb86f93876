"""Pull requests and discussions."""

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub.utils import HfHubHTTPError

from tests.local_hub.conftest import CLOCK


@pytest.fixture
def discuss(api, repo):
    """Call a method of `HfApi` for pull request 1 of the scratch repository."""
    return lambda method, **arguments: getattr(api, method)(discussion_num=1, **repo, **arguments)


def test_a_commit_can_open_a_pull_request(local_hub, api, repo, commit):
    made = commit(Add("a", b"x"), message="proposal", create_pr=True)
    assert made.pr_url == f"{local_hub.url}/datasets/you/scratch/discussions/1"
    assert (made.pr_revision, made.pr_num) == ("refs/pr/1", 1)
    assert api.list_repo_files(**repo) == [".gitattributes"]
    commit(Add("b", b"x"), revision=made.pr_revision)
    assert api.list_repo_files(**repo, revision="refs/pr/1") == [".gitattributes", "a", "b"]
    details = api.get_discussion_details(discussion_num=1, **repo)
    assert (details.title, details.status, details.is_pull_request) == ("proposal", "open", True)
    assert (details.target_branch, details.merge_commit_oid) == ("refs/heads/main", None)


def test_a_pull_request_can_be_opened_before_its_commits(api, repo, commit, discuss):
    opened = api.create_pull_request(title="draft", description="details", **repo)
    assert (opened.num, opened.status, opened.git_reference) == (1, "draft", "refs/pr/1")
    assert opened.events[0].content == "details"
    commit(Add("a", b"x"), revision="refs/pr/1")
    discuss("merge_pull_request")
    assert "a" in api.list_repo_files(**repo)


@pytest.mark.local_hub(limit=3)
def test_a_merge_is_one_commit(local_hub, api, repo, commit, discuss):
    commit(Add("a", b"x"), message="proposal", create_pr=True)
    commit(Add("b", b"x"), revision="refs/pr/1")
    discuss("merge_pull_request")
    assert api.list_repo_files(**repo) == [".gitattributes", "a", "b"]
    newest, _ = api.list_repo_commits(**repo)
    assert newest.title == "proposal (#1)"
    details = discuss("get_discussion_details")
    assert (details.status, details.merge_commit_oid) == ("merged", newest.commit_id)
    assert local_hub.commits[-1].paths == ("a", "b")
    with pytest.raises(HfHubHTTPError, match="rate limit for repository commits"):
        commit(Add("c", b"x"))


@pytest.mark.local_hub(limit=1, clock=CLOCK.now)
def test_the_commit_limit_refuses_a_merge(local_hub, api, repo, commit, discuss):
    commit(Add("a", b"x"), create_pr=True)
    with pytest.raises(HfHubHTTPError, match=r"repository commits \(1 per hour\)") as caught:
        discuss("merge_pull_request")
    assert caught.value.response.status_code == 429
    (refusal,) = local_hub.refusals
    assert (refusal.kind, refusal.endpoint) == ("commit", "merge")
    assert (refusal.repo_type, refusal.repo) == ("dataset", "you/scratch")
    assert discuss("get_discussion_details").status == "open"
    assert api.list_repo_files(**repo) == [".gitattributes"]
    CLOCK.advance(3600)
    discuss("merge_pull_request")
    assert api.list_repo_files(**repo) == [".gitattributes", "a"]
    assert [seen.revision for seen in local_hub.commits] == ["refs/pr/1", "main"]


def test_a_merge_applies_only_the_changes_of_the_pull_request(api, repo, commit, discuss):
    commit(Add("a", b"1"))
    commit(Add("b", b"1"), create_pr=True)
    commit(Add("a", b"2"))
    discuss("merge_pull_request")
    assert api.list_repo_files(**repo) == [".gitattributes", "a", "b"]
    assert api.get_paths_info(paths="a", **repo)[0].blob_id == "d8263ee9860594d2806b0dfd1bfd17528b0ba2a4"


def test_a_merge_lists_the_commits_that_it_brings(api, repo, commit, discuss):
    first = commit(Add("a", b"1"), message="one", create_pr=True)
    second = commit(Add("b", b"1"), message="two", revision="refs/pr/1")
    event = discuss("merge_pull_request", comment="thanks")
    newest = api.list_repo_commits(**repo)[0]
    assert newest.message == f"- one ({first.oid})\n\n- two ({second.oid})"
    assert event is None or event.type == "status-change"
    comment, status = discuss("get_discussion_details").events[-2:]
    assert (comment.content, status.new_status) == ("thanks", "merged")


def test_a_file_that_both_sides_changed_is_a_conflict(commit, discuss):
    commit(Add("a", b"1"), create_pr=True)
    commit(Add("a", b"2"))
    with pytest.raises(HfHubHTTPError, match="conflicts in: a") as caught:
        discuss("merge_pull_request")
    assert caught.value.response.status_code == 409
    discuss("change_discussion_status", new_status="closed")
    with pytest.raises(HfHubHTTPError, match="Only an open pull request can be merged"):
        discuss("merge_pull_request")


@pytest.mark.parametrize("squashed", ["main", "refs/pr/1"])
def test_a_squash_makes_a_merge_impossible(api, repo, commit, discuss, squashed):
    commit(Add("a", b"1"), create_pr=True)
    api.super_squash_history(**repo, branch=squashed)
    with pytest.raises(HfHubHTTPError, match="conflicts in: a") as caught:
        discuss("merge_pull_request")
    assert caught.value.response.status_code == 409
    assert api.list_repo_files(**repo) == [".gitattributes"]


def test_discussions_can_be_commented_renamed_and_closed(api, repo, discuss):
    api.create_discussion(title="why", **repo)
    assert discuss("comment_discussion", comment="because").content == "because"
    assert discuss("rename_discussion", new_title="how").new_title == "how"
    assert discuss("change_discussion_status", new_status="closed").new_status == "closed"
    details = discuss("get_discussion_details")
    assert [event.type for event in details.events] == ["comment", "comment", "title-change", "status-change"]
    assert (details.title, details.status, details.git_reference) == ("how", "closed", None)


def test_discussions_are_listed_newest_first(api, repo, commit):
    api.create_discussion(title="one", **repo)
    commit(Add("a", b"x"), message="two", create_pr=True)
    listed = list(api.get_repo_discussions(**repo))
    assert [(item.num, item.title, item.is_pull_request) for item in listed] == [(2, "two", True), (1, "one", False)]
    assert [item.num for item in api.get_repo_discussions(**repo, discussion_type="discussion")] == [1]
    assert list(api.get_repo_discussions(**repo, discussion_status="closed")) == []


def test_a_missing_discussion_is_not_found(repo, ask):
    assert ask("GET", "/api/datasets/you/scratch/discussions/9").status == 404
