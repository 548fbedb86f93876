"""The limits, over HTTP, with a clock of the test's."""

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationDelete as Delete
from huggingface_hub import HfApi
from huggingface_hub.utils import HfHubHTTPError

from tests.local_hub.conftest import CLOCK, ndjson

COMMIT = "/api/datasets/you/scratch/commit/main"


def commit_times(commit, count):
    for number in range(count):
        commit(Add(f"{CLOCK.now()}/{number}", b"x"))


def refused(commit, **options):
    with pytest.raises(HfHubHTTPError) as caught:
        commit(Add("one too many", b"x"), **options)
    assert caught.value.response.status_code == 429
    return caught.value.response


def announced_wait(response):
    return response.json()["error"].split("You can retry this action in ")[1].split(".")[0]


@pytest.mark.local_hub(limit=3, clock=CLOCK.now)
def test_a_fixed_window_opens_with_its_first_commit_and_ends_for_all_at_once(commit):
    commit_times(commit, 1)
    CLOCK.advance(1800)
    commit_times(commit, 2)
    assert announced_wait(refused(commit)) == "30 minutes"
    CLOCK.advance(1799)
    assert announced_wait(refused(commit)) == "less than a minute"
    CLOCK.advance(1)
    commit_times(commit, 3)
    assert announced_wait(refused(commit)) == "about 1 hour"


@pytest.mark.local_hub(limit=3, model="sliding", clock=CLOCK.now)
def test_a_sliding_window_forgets_each_commit_an_hour_later(commit):
    commit_times(commit, 1)
    CLOCK.advance(1800)
    commit_times(commit, 2)
    assert announced_wait(refused(commit)) == "30 minutes"
    CLOCK.advance(1800)
    commit_times(commit, 1)
    assert announced_wait(refused(commit)) == "30 minutes"


@pytest.mark.local_hub(limit=1, window=0.5, clock=CLOCK.now)
def test_a_window_can_be_a_fraction_of_a_second(commit):
    commit_times(commit, 1)
    CLOCK.advance(0.49)
    assert "(1 per 0.5 seconds)" in refused(commit).json()["error"]
    CLOCK.advance(0.01)
    commit_times(commit, 1)


@pytest.mark.local_hub(limit=2, clock=CLOCK.now)
def test_only_accepted_commits_count(local_hub, commit, ask):
    commit(Add("1", b"x"))
    with pytest.raises(HfHubHTTPError, match="doesn't exist"):
        commit(Delete("missing"))
    with pytest.raises(HfHubHTTPError, match="The branch was updated since"):
        commit(Add("2", b"x"), parent_commit="0" * 40)
    assert ask("POST", COMMIT, b"nonsense").status == 400
    commit(Add("2", b"x"))
    refused(commit)
    refused(commit)
    CLOCK.advance(3600)
    commit_times(commit, 2)
    assert [seen.kind for seen in local_hub.refusals] == ["commit", "commit"]


@pytest.mark.local_hub(limit=2)
def test_branches_and_pull_requests_of_a_repository_share_its_limit(api, repo, commit):
    api.create_branch(branch="v1", **repo)
    commit(Add("a", b"x"), revision="v1")
    commit(Add("a", b"x"), create_pr=True)
    refused(commit)
    refused(commit, revision="refs/pr/1")


@pytest.mark.local_hub(limit=1)
def test_each_repository_has_its_own_limit(api, commit):
    commit(Add("a", b"x"))
    api.create_repo("you/scratch", repo_type="model")
    commit(Add("a", b"x"), repo_type="model")
    refused(commit)


@pytest.mark.local_hub(limit=5)
def test_spend_uses_up_commits(local_hub, commit):
    local_hub.spend("you/scratch", 4, repo_type="dataset")
    commit(Add("a", b"x"))
    refused(commit)


@pytest.mark.local_hub(limit=None)
def test_none_means_no_limit(local_hub, commit):
    local_hub.spend("you/scratch", 10_000, repo_type="dataset")
    commit(Add("a", b"x"))


@pytest.mark.local_hub(limit=0, clock=CLOCK.now)
def test_a_refused_commit_carries_the_unrelated_headers_of_the_api_limit(repo, ask):
    answer = ask("POST", COMMIT, ndjson())
    assert answer.status == 429
    assert answer.headers["RateLimit"] == '"api";r=998;t=300'  # after create_repo and this one
    assert answer.headers["RateLimit-Policy"] == '"fixed window";"api";q=1000;w=300'
    assert list(answer.json) == ["error"]


# ---- API requests ----------------------------------------------------------------------------------------


@pytest.mark.local_hub(api_limit=3, api_window=300, clock=CLOCK.now)
def test_the_headers_of_the_api_limit_are_exact(local_hub, ask):
    left = []
    for _ in range(3):
        left.append(ask("GET", "/api/whoami-v2").headers["RateLimit"])
        CLOCK.advance(10)
    assert left == ['"api";r=2;t=300', '"api";r=1;t=290', '"api";r=0;t=280']
    answer = ask("GET", "/api/whoami-v2")
    assert answer.status == 429
    assert answer.headers["RateLimit"] == '"api";r=0;t=270'
    assert "the quota of 3 api requests per 5 minutes period" in answer.json["error"]
    assert [(seen.kind, seen.endpoint) for seen in local_hub.refusals] == [("api", "whoami")]
    CLOCK.advance(270)
    assert ask("GET", "/api/whoami-v2").status == 200


@pytest.mark.local_hub(api_limit=1)
def test_each_token_has_its_own_api_limit(ask):
    assert ask("GET", "/api/models", token="hf_a").status == 200
    assert ask("GET", "/api/models", token="hf_b").status == 200
    assert ask("GET", "/api/models", token=None).status == 200
    assert [ask("GET", "/api/models", token=token).status for token in ("hf_a", "hf_b", None)] == [429, 429, 429]


@pytest.mark.local_hub(api_limit=2)
def test_the_api_limit_counts_the_lfs_batch_but_not_downloads(repo, ask):
    batch = {"operation": "upload", "objects": []}
    assert ask("POST", "/datasets/you/scratch.git/info/lfs/objects/batch", batch).status == 200
    assert ask("POST", "/datasets/you/scratch.git/info/lfs/objects/batch", batch).status == 429
    answer = ask("GET", "/datasets/you/scratch/resolve/main/.gitattributes")
    assert answer.status == 200
    assert answer.headers["RateLimit"].startswith('"resolvers";r=4999;')


@pytest.mark.local_hub(api_limit=None)
def test_without_an_api_limit_there_are_no_headers(ask):
    answer = ask("GET", "/api/models")
    assert answer.headers["RateLimit"] is None
    assert answer.headers["RateLimit-Policy"] is None


# ---- whose commits are counted ---------------------------------------------------------------------------


@pytest.mark.local_hub(limit=1, quota_scope="owner", creation_limit=None)
def test_the_repositories_of_an_owner_can_share_a_limit(local_hub, api, commit):
    api.create_repo("you/other")
    api.create_repo("they/other")
    commit(Add("a", b"x"))
    refused(commit, repo_id="you/other", repo_type="model")
    commit(Add("a", b"x"), repo_id="they/other", repo_type="model")
    local_hub.spend("she/one")
    api.create_repo("she/two")
    refused(commit, repo_id="she/two", repo_type="model")


@pytest.mark.local_hub(limit=1, quota_scope="token")
def test_a_token_can_have_a_limit(local_hub, api, commit):
    api.create_repo("they/other")
    commit(Add("a", b"x"))
    refused(commit, repo_id="they/other", repo_type="model")
    commit(Add("b", b"x"), token="hf_other")
    with pytest.raises(ValueError, match="needs the token that spends"):
        local_hub.spend("you/scratch")
    local_hub.spend("you/scratch", token="hf_third", repo_type="dataset")
    refused(commit, token="hf_third")


# ---- how a refusal is worded -----------------------------------------------------------------------------


@pytest.mark.local_hub(limit=0, clock=CLOCK.now)
def test_by_default_a_refusal_has_no_retry_after(commit):
    assert "Retry-After" not in refused(commit).headers


@pytest.mark.local_hub(limit=0, retry_after=True, window=90.5, clock=CLOCK.now)
def test_a_refusal_can_have_a_retry_after(commit):
    assert refused(commit).headers["Retry-After"] == "91"


@pytest.mark.local_hub(limit=0, window=45, wording="distance", include_seconds=True, clock=CLOCK.now)
def test_seconds_can_be_included(commit):
    assert announced_wait(refused(commit)) == "less than a minute"


@pytest.mark.local_hub(limit=0, window=45, wording="strict", clock=CLOCK.now)
def test_the_wait_can_be_worded_strictly(commit):
    assert announced_wait(refused(commit)) == "45 seconds"


@pytest.mark.local_hub(limit=0, wording="hourly")
def test_the_wait_can_be_left_out(commit):
    assert "our hourly quotas for action: commit" in refused(commit).json()["error"]


# ---- the quotas of other actions -------------------------------------------------------------------------


@pytest.mark.local_hub(creation_limit=2, clock=CLOCK.now)
def test_new_repositories_per_day(local_hub, api):
    for name in ("one", "two"):
        api.create_repo(f"you/{name}")
    for arguments in ({"repo_id": "you/three"}, {"repo_id": "you/one", "exist_ok": True}):
        with pytest.raises(HfHubHTTPError) as caught:
            api.create_repo(**arguments)
        assert caught.value.response.status_code == 429
        assert caught.value.response.json()["error"] == (
            "You have exceeded the rate limit for repository creation (2 per day). You can retry this action in 1 day."
        )
    assert {seen.kind for seen in local_hub.refusals} == {"creation"}
    HfApi(endpoint=local_hub.url, token="hf_other").create_repo("they/one")
    CLOCK.advance(86400)
    api.create_repo("you/three")


@pytest.mark.local_hub(creation_limit=2)
def test_a_repository_that_exists_already_counts(api):
    for _ in range(2):
        api.create_repo("you/one", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="429"):
        api.create_repo("you/two")


@pytest.mark.local_hub(pull_request_limit=2, limit=9, clock=CLOCK.now)
def test_pull_requests_with_and_without_a_commit(local_hub, api, repo, commit):
    api.create_pull_request(**repo, title="one")
    commit(Add("a", b"x"), create_pr=True)
    for open_another in (
        lambda: api.create_pull_request(**repo, title="two"),
        lambda: commit(Add("b", b"x"), create_pr=True),
    ):
        with pytest.raises(HfHubHTTPError, match=r"rate limit for pull requests \(2 per hour\)"):
            open_another()
    commit(Add("b", b"x"))
    api.create_discussion(**repo, title="three")
    assert [seen.kind for seen in local_hub.refusals] == ["pull-request", "pull-request"]
    CLOCK.advance(3600)
    commit(Add("c", b"x"), create_pr=True)


@pytest.mark.local_hub(discussion_limit=1)
def test_discussions(api, repo):
    api.create_discussion(**repo, title="one")
    with pytest.raises(HfHubHTTPError, match=r"rate limit for discussions \(1 per hour\)"):
        api.create_discussion(**repo, title="two")


@pytest.mark.local_hub(creation_limit=None, pull_request_limit=None, discussion_limit=None)
def test_they_can_be_switched_off(api, repo):
    for number in range(12):
        api.create_repo("you/one", exist_ok=True)
        api.create_discussion(**repo, title=f"{number}")
        api.create_pull_request(**repo, title=f"{number}")


# ---- whoami, pages, Xet tokens ---------------------------------------------------------------------------


@pytest.mark.local_hub(whoami_limit=2, clock=CLOCK.now)
def test_whoami_has_a_stricter_limit_that_counts_an_address(local_hub, ask):
    assert ask("GET", "/api/whoami-v2").headers["RateLimit"] == '"api";r=999;t=300'
    assert ask("GET", "/api/whoami-v2", token="hf_a").status == 200
    refused = ask("GET", "/api/whoami-v2", token="hf_b")
    assert refused.status == 429
    assert refused.headers["RateLimit"] == '"whoami";r=0;t=300'
    assert refused.headers["RateLimit-Policy"] == '"fixed window";"whoami";q=2;w=300'
    assert ask("GET", "/api/models", token="hf_b").status == 200
    assert [(seen.kind, seen.endpoint) for seen in local_hub.refusals] == [("whoami", "whoami")]
    CLOCK.advance(300)
    assert ask("GET", "/api/whoami-v2").status == 200


@pytest.mark.local_hub(pages_limit=1)
def test_pages(ask):
    assert ask("GET", "/you/scratch").headers["RateLimit"] == '"pages";r=0;t=300'
    refused = ask("GET", "/you/scratch")
    assert (refused.status, refused.headers["RateLimit"]) == (429, '"pages";r=0;t=300')
    assert ask("GET", "/api/models").status == 200


@pytest.mark.local_hub(api_limit=2)
def test_xet_tokens_are_api_requests(repo, ask):
    address = "/api/datasets/you/scratch/xet-write-token/main"
    assert [ask("GET", address).status for _ in range(2)] == [200, 429]


# ---- downloads -------------------------------------------------------------------------------------------

DOWNLOAD = "/datasets/you/scratch/resolve/main/.gitattributes"


@pytest.mark.local_hub(api_limit=5, resolvers_limit=2, clock=CLOCK.now)
def test_downloads_can_have_a_limit_of_their_own(local_hub, repo, ask):
    assert ask("GET", DOWNLOAD).headers["RateLimit"] == '"resolvers";r=1;t=300'
    CLOCK.advance(10)
    assert ask("HEAD", DOWNLOAD).headers["RateLimit"] == '"resolvers";r=0;t=290'
    refused = ask("GET", DOWNLOAD)
    assert refused.status == 429
    assert refused.headers["RateLimit"] == '"resolvers";r=0;t=290'
    assert refused.headers["RateLimit-Policy"] == '"fixed window";"resolvers";q=2;w=300'
    assert "the quota of 2 resolvers requests per 5 minutes period" in refused.json["error"]
    assert ask("GET", "/api/whoami-v2").headers["RateLimit"].startswith('"api";r=3;')  # after create_repo and this one
    assert [(seen.kind, seen.endpoint) for seen in local_hub.refusals] == [("resolvers", "resolve")]
    CLOCK.advance(290)
    assert ask("GET", DOWNLOAD).status == 200
