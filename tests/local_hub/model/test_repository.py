"""Commits, revisions, merges."""

import pytest

from mat_vis_hub.local_hub.model.errors import MergeConflict, RevisionNotFound
from mat_vis_hub.local_hub.model.repository import BRANCH, TAG, Repo
from mat_vis_hub.local_hub.model.trees import File

MAIN = BRANCH + "main"
A, B = File.regular(b"a"), File.regular(b"b")


def commit(repo, changes, ref=MAIN, **options):
    return repo.commit(ref, changes, title="a commit", author="you", time=0.0, **options)


@pytest.fixture
def repo():
    repo = Repo("dataset", "you/scratch", 0.0)
    commit(repo, {"a": A})
    return repo


def pull_request(repo, changes):
    opened = repo.discuss("a proposal", author="them", time=0.0, status="open", base=MAIN)
    commit(repo, changes, ref=opened.ref)
    return opened


def paths(found):
    return [path for path, _ in found.tree.walk()]


def test_a_revision_is_a_branch_a_tag_a_full_ref_or_a_commit(repo):
    first = repo.head(MAIN)
    repo.set_ref(TAG + "v1", first.oid)
    repo.set_ref(BRANCH + "feature/x", first.oid)
    commit(repo, {"b": B})
    for revision in ("v1", "feature/x", "refs/heads/feature/x", "refs/tags/v1", first.oid, first.oid[:7]):
        assert repo.resolve(revision) is first
    for revision in ("v2", first.oid[:6], "refs/pr/1", ""):
        with pytest.raises(RevisionNotFound, match=f"no revision '{revision}'"):
            repo.resolve(revision)


def test_a_commit_moves_branches_and_pull_requests_but_no_tags(repo):
    repo.set_ref(TAG + "v1", repo.head(MAIN).oid)
    opened = pull_request(repo, {"b": B})
    assert repo.writable_ref("main") == repo.writable_ref(MAIN) == MAIN
    assert repo.writable_ref("refs/pr/1") == opened.ref
    for revision in ("v1", "refs/tags/v1", repo.head(MAIN).oid):
        with pytest.raises(RevisionNotFound):
            repo.writable_ref(revision)


def test_the_history_follows_first_parents(repo):
    first = repo.head(MAIN)
    opened = pull_request(repo, {"b": B})
    second = commit(repo, {"c": A})
    merged = repo.merge(opened, author="you", time=0.0)
    assert list(repo.history(merged)) == [merged, second, first]
    assert merged.parents == (second.oid, repo.head(opened.ref).oid)


def test_an_orphan_commit_keeps_the_tree_and_drops_the_history(repo):
    commit(repo, {"b": B})
    orphan = commit(repo, {}, orphan=True)
    assert list(repo.history(orphan)) == [orphan]
    assert paths(orphan) == ["a", "b"]
    assert orphan.changes == {"a": A, "b": B}


def test_a_merge_applies_what_the_pull_request_changed(repo):
    opened = pull_request(repo, {"a": None, "b": B})
    commit(repo, {"c": A})
    merged = repo.merge(opened, author="you", time=0.0)
    assert merged.changes == {"a": None, "b": B}
    assert paths(merged) == ["b", "c"]
    assert (opened.status, opened.merge_oid, merged.title) == ("merged", merged.oid, "a proposal (#1)")


def test_a_merge_conflict_names_the_files_and_changes_nothing(repo):
    opened = pull_request(repo, {"a": None, "b": B, "c": B})
    head = commit(repo, {"a": B, "b": A})
    with pytest.raises(MergeConflict, match="changed a, b") as caught:
        repo.merge(opened, author="you", time=0.0)
    assert caught.value.paths == ("a", "b")
    assert (repo.head(MAIN), opened.status) == (head, "open")


def test_last_changes_finds_the_newest_commit_of_files_and_folders(repo):
    first = repo.head(MAIN)
    second = commit(repo, {"folder/x": A, "folder/y": A})
    third = commit(repo, {"folder/y": B})
    assert repo.last_changes(third, {"a", "folder", "folder/x", "folder/y"}) == {
        "a": first,
        "folder": third,
        "folder/x": second,
        "folder/y": third,
    }
