"""Repositories, branches, tags and refs."""

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError


@pytest.mark.parametrize(("repo_type", "extra"), [("model", {}), ("dataset", {}), ("space", {"space_sdk": "static"})])
def test_repositories_of_every_type_can_be_created_and_deleted(api, repo_type, extra):
    repo = {"repo_id": "you/scratch", "repo_type": repo_type}
    url = api.create_repo(**repo, **extra)
    assert (url.repo_id, url.repo_type) == ("you/scratch", repo_type)
    assert api.repo_exists(**repo)
    assert api.list_repo_files(**repo) == [".gitattributes"]
    api.delete_repo(**repo)
    assert not api.repo_exists(**repo)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(**repo)
    api.delete_repo(**repo, missing_ok=True)


def test_an_id_without_a_namespace_gets_the_users_name(api):
    assert api.create_repo("scratch").repo_id == "local/scratch"
    api.delete_repo("scratch")
    assert not api.repo_exists("local/scratch")
    assert not api.repo_exists("scratch")


def test_a_repository_cannot_be_created_twice(api, repo):
    with pytest.raises(HfHubHTTPError, match="already created this dataset repo") as caught:
        api.create_repo(**repo)
    assert caught.value.response.status_code == 409
    assert api.create_repo(**repo, exist_ok=True).repo_id == "you/scratch"
    api.create_repo("you/scratch", repo_type="model")  # another type is another repository


def test_invalid_names_are_refused(ask):
    assert ask("POST", "/api/repos/create", {"name": "../x", "organization": "you"}).status == 400
    assert ask("POST", "/api/repos/create", {"name": "x", "type": "bucket"}).status == 400
    assert "name" in ask("POST", "/api/repos/create", {}).json["error"]
    assert ask("POST", "/api/repos/create", b"{nonsense").status == 400


def test_ids_without_a_namespace_are_not_found(api):
    assert not api.revision_exists("missing", "main")
    assert not api.file_exists("missing", "a")
    for repo_type in ("model", "dataset"):
        with pytest.raises(RepositoryNotFoundError):
            api.list_repo_commits("missing", repo_type=repo_type)
        with pytest.raises(RepositoryNotFoundError):
            api.upload_file(repo_id="missing", repo_type=repo_type, path_in_repo="a", path_or_fileobj=b"x")


@pytest.mark.parametrize("name", ["revision", "commits", "tree", "resolve", "preupload"])
def test_a_repository_can_have_the_name_of_an_endpoint(api, name):
    repo_id = api.create_repo(f"you/{name}").repo_id
    api.upload_file(repo_id=repo_id, path_in_repo="a/b", path_or_fileobj=b"x")
    assert api.list_repo_files(repo_id) == [".gitattributes", "a/b"]
    assert api.file_exists(repo_id, "a/b")
    assert len(api.list_repo_commits(repo_id)) == 2


def test_info_describes_a_revision(api, repo, commit):
    made = commit(Add("a.txt", b"abc"), Add("b.bin", b"\0" * 5))
    api.create_tag(tag="v1", **repo)
    commit(Add("c.txt", b"x"))
    info = api.repo_info(**repo, revision="v1", files_metadata=True)
    assert (info.id, info.author, info.sha, info.private) == ("you/scratch", "you", made.oid, False)
    assert info.last_modified >= info.created_at
    attributes, text, binary = info.siblings
    assert attributes.rfilename == ".gitattributes"
    assert (text.size, text.blob_id, text.lfs) == (3, "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", None)
    assert (binary.size, binary.lfs.size) == (5, 5)
    assert len(api.repo_info(**repo).siblings) == 4


def test_info_can_be_limited_to_some_fields(api, repo):
    info = api.repo_info(**repo, expand=["sha"])
    assert info.sha
    assert info.siblings is None


def test_missing_repositories_and_revisions_have_their_own_errors(api, repo, ask):
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("you/other")
    with pytest.raises(RevisionNotFoundError, match="Invalid rev id: v9"):
        api.repo_info(**repo, revision="v9")
    assert ask("GET", "/api/kernels/you/x").status == 404
    for token, status in (("hf_any", 404), (None, 401)):
        answer = ask("GET", "/api/models/you/other", token=token)
        assert (answer.status, answer.headers["X-Error-Code"]) == (status, "RepoNotFound")


def test_repositories_are_listed_by_author(api):
    for repo_id in ("you/b", "you/a", "them/a"):
        api.create_repo(repo_id, repo_type="dataset")
    api.create_repo("you/model")
    assert [found.id for found in api.list_datasets(author="you")] == ["you/a", "you/b"]
    assert [found.id for found in api.list_datasets(search="/A")] == ["them/a", "you/a"]
    assert [found.id for found in api.list_datasets(limit=1)] == ["them/a"]
    assert [found.id for found in api.list_models()] == ["you/model"]


def test_a_moved_repository_keeps_its_content(api, repo, commit):
    made = commit(Add("a", b"x"))
    api.create_repo("you/taken", repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as caught:
        api.move_repo("you/scratch", "you/taken", repo_type="dataset")
    assert caught.value.response.status_code == 409
    api.move_repo("you/scratch", "them/moved", repo_type="dataset")
    assert api.repo_info("them/moved", repo_type="dataset").sha == made.oid
    assert not api.repo_exists(**repo)


def names(refs):
    return [ref.name for ref in refs]


def test_a_branch_starts_at_the_given_revision(api, repo, commit):
    first = commit(Add("a", b"1"))
    second = commit(Add("a", b"2"))
    api.create_branch(branch="now", **repo)
    api.create_branch(branch="feature/then", revision=first.oid, **repo)
    branches = api.list_repo_refs(**repo).branches
    assert {ref.name: ref.target_commit for ref in branches} == {
        "main": second.oid,
        "now": second.oid,
        "feature/then": first.oid,
    }
    assert branches[0].ref == "refs/heads/main"
    commit(Add("b", b"x"), revision="feature/then")
    assert api.list_repo_files(**repo, revision="feature/then") == [".gitattributes", "a", "b"]
    assert api.list_repo_files(**repo) == [".gitattributes", "a"]
    api.delete_branch(branch="feature/then", **repo)
    assert names(api.list_repo_refs(**repo).branches) == ["main", "now"]


def test_a_branch_needs_a_new_name_and_an_existing_revision(api, repo):
    api.create_branch(branch="v1", **repo)
    with pytest.raises(HfHubHTTPError, match="Reference refs/heads/v1 already exists") as caught:
        api.create_branch(branch="v1", **repo)
    assert caught.value.response.status_code == 409
    api.create_branch(branch="v1", exist_ok=True, **repo)
    with pytest.raises(RevisionNotFoundError):
        api.create_branch(branch="v2", revision="v9", **repo)


@pytest.mark.parametrize("name", ["main/x", "release", "release/1/a"])
def test_a_ref_cannot_be_a_file_and_a_folder_at_once(api, repo, name):
    """Git keeps refs as files. `exist_ok` must not hide it."""
    api.create_branch(branch="release/1", **repo)
    with pytest.raises(HfHubHTTPError, match=f"Cannot create refs/heads/{name}") as caught:
        api.create_branch(branch=name, exist_ok=True, **repo)
    assert caught.value.response.status_code == 400
    api.create_tag(tag=name, **repo)


def test_main_cannot_be_deleted(api, repo):
    with pytest.raises(HfHubHTTPError, match="Cannot delete refs/heads/main"):
        api.delete_branch(branch="main", **repo)
    with pytest.raises(RevisionNotFoundError):
        api.delete_branch(branch="v9", **repo)


def test_a_tag_stays_on_its_commit(api, repo, commit):
    first = commit(Add("a", b"1"))
    api.create_tag(tag="v2026.04.2", **repo)
    commit(Add("a", b"2"))
    (tag,) = api.list_repo_refs(**repo).tags
    assert (tag.name, tag.ref, tag.target_commit) == ("v2026.04.2", "refs/tags/v2026.04.2", first.oid)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_tag(tag="v2026.04.2", **repo)
    assert caught.value.response.status_code == 409
    api.create_tag(tag="v2026.04.2", exist_ok=True, **repo)
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(tag="x", revision="v9", **repo)
    with pytest.raises(RevisionNotFoundError):
        commit(Add("b", b"x"), revision="v2026.04.2")
    api.delete_tag(tag="v2026.04.2", **repo)
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(tag="v2026.04.2", **repo)


def test_refs_list_pull_requests_on_request(api, repo, commit):
    made = commit(Add("a", b"x"), create_pr=True)
    assert api.list_repo_refs(**repo).pull_requests is None
    (ref,) = api.list_repo_refs(**repo, include_pull_requests=True).pull_requests
    assert (ref.ref, ref.target_commit) == ("refs/pr/1", made.oid)


def test_auth_check(api, repo):
    api.auth_check(**repo)
    with pytest.raises(RepositoryNotFoundError):
        api.auth_check("you/other")
