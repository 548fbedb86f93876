"""Who may read and write what."""

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from mat_vis_hub.local_hub import LocalHub
from tests.local_hub.conftest import ndjson

SCRATCH = "/api/datasets/you/scratch"


def test_without_a_token_of_its_own_the_hub_accepts_any_and_none(local_hub, repo, ask):
    for token in ("hf_a", "hf_b", None):
        answer = ask("POST", SCRATCH + "/commit/main", ndjson(), token=token)
        assert answer.status == 200
    assert len(local_hub.commits) == 3


@pytest.mark.local_hub(token="hf_local")
def test_a_hub_with_a_token_accepts_no_other(repo, ask):
    wrong = ask("GET", SCRATCH, token="hf_wrong")
    assert wrong.status == 401
    assert wrong.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
    assert wrong.headers["X-Error-Code"] is None
    anonymous = ask("POST", SCRATCH + "/commit/main", ndjson(), token=None)
    assert anonymous.status == 401
    assert anonymous.json == {"error": "Invalid username or password."}
    assert ask("GET", SCRATCH, token=None).status == 200
    assert ask("POST", SCRATCH + "/commit/main", ndjson()).status == 200


@pytest.mark.local_hub(token="hf_local")
def test_every_generation_reports_a_wrong_token(local_hub, repo):
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as caught:
        HfApi(endpoint=local_hub.url, token="hf_wrong").repo_info(**repo)
    assert not isinstance(caught.value, RepositoryNotFoundError)


def test_a_private_repository_is_hidden_from_callers_without_a_token(local_hub, api, ask):
    api.create_repo("you/secret", private=True)
    anonymous = HfApi(endpoint=local_hub.url, token=False)
    for attempt in (anonymous.repo_info, anonymous.list_repo_refs, anonymous.list_repo_files):
        with pytest.raises(RepositoryNotFoundError):
            attempt("you/secret")
    assert ask("GET", "/you/secret/resolve/main/.gitattributes", token=None).status == 401
    assert api.repo_info("you/secret").private
    assert [found["id"] for found in ask("GET", "/api/models").json] == ["you/secret"]
    assert ask("GET", "/api/models", token=None).json == []


def test_a_private_repository_needs_a_token_to_create(ask):
    body = {"name": "secret", "organization": "you", "private": True}
    assert ask("POST", "/api/repos/create", body, token=None).status == 401


def test_visibility_can_change(local_hub, api, repo):
    anonymous = HfApi(endpoint=local_hub.url, token=False)
    api.update_repo_settings(**repo, private=True)
    assert not anonymous.repo_exists(**repo)
    api.update_repo_settings(**repo, private=False)
    assert anonymous.repo_exists(**repo)


def test_the_files_of_a_gated_repository_are_for_its_owner(local_hub, api, repo):
    api.update_repo_settings(**repo, gated="auto")
    assert api.file_exists(filename=".gitattributes", **repo)
    with pytest.raises(GatedRepoError):
        HfApi(endpoint=local_hub.url, token=False).file_exists(filename=".gitattributes", **repo)


@pytest.mark.local_hub(owners=("me", "my-org"))
def test_only_owners_create_repositories(api):
    assert api.whoami()["name"] == "me"
    assert [org["name"] for org in api.whoami()["orgs"]] == ["my-org"]
    assert api.create_repo("mine").repo_id == "me/mine"
    api.create_repo("my-org/ours")
    with pytest.raises(HfHubHTTPError, match="rights to create a model under the namespace") as caught:
        api.create_repo("them/theirs")
    assert caught.value.response.status_code == 403


@pytest.fixture
def theirs(tmp_path):
    """A folder with a repository of another user."""
    with LocalHub(path=tmp_path) as hub:
        HfApi(endpoint=hub.url, token="hf_them").create_repo("them/repo")
    return tmp_path


def test_another_users_repository_accepts_pull_requests_but_no_commits(theirs, monkeypatch):
    with LocalHub(path=theirs, owners=("me",)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        api = HfApi(endpoint=hub.url, token="hf_local")
        with pytest.raises(HfHubHTTPError, match="pass `create_pr=1` as a query parameter") as caught:
            api.create_commit("them/repo", [Add("a", b"x")], commit_message="mine")
        assert caught.value.response.status_code == 403
        proposed = api.create_commit("them/repo", [Add("a", b"x")], commit_message="mine", create_pr=True)
        api.create_commit("them/repo", [Add("b", b"x")], commit_message="more", revision=proposed.pr_revision)
        for change in (api.delete_repo, lambda repo: api.create_branch(repo, branch="v1")):
            with pytest.raises(HfHubHTTPError) as caught:
                change("them/repo")
            assert caught.value.response.status_code == 403
