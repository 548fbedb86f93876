"""A commit's request, with the request classes of the installed HTTP client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import get_session

from mat_vis_hub._hub.commit_request import CommitRequest
from mat_vis_hub._hub.routes import route_of

REPO = "you/textures"


@pytest.fixture
def sent(local_hub, monkeypatch) -> list[Any]:
    """The requests that reach `send`, finished."""
    client = get_session()
    send, requests = client.send, []

    def spy(request, **kwargs):
        requests.append(request)
        return send(request, **kwargs)

    monkeypatch.setattr(client, "send", spy, raising=False)
    return requests


@pytest.fixture
def api(local_hub) -> HfApi:
    api = HfApi(endpoint=local_hub.url, token="hf_x", headers={"x-proxy": "secret"})
    api.create_repo(REPO, repo_type="dataset")
    return api


def commit(api: HfApi, sent: list[Any], **kwargs) -> tuple[Any, CommitRequest | None]:
    operations = [CommitOperationAdd("a.txt", "Größe\n\nzwei".encode())]
    api.create_commit(REPO, operations, commit_message="Add", repo_type="dataset", **kwargs)
    request = next(each for each in sent if "/commit/" in str(each.url))
    route = route_of(request.method, str(request.url))
    assert route is not None
    return request, CommitRequest.of(request, route)


def lines(request: Any) -> list[dict]:
    body = request.body if hasattr(request, "body") else request.content
    return [json.loads(line) for line in body.splitlines()]


def test_what_it_says(api, sent):
    head = api.repo_info(REPO, repo_type="dataset").sha
    _, understood = commit(api, sent, parent_commit=head)
    assert understood is not None
    assert understood.parent == head
    assert understood.repository.repo_id == REPO
    assert understood.revision == "main"
    assert not understood.opens_pull_request
    assert understood.page == f"{api.endpoint}/datasets/{REPO}"


def test_that_it_opens_a_pull_request(api, sent):
    _, understood = commit(api, sent, create_pr=True)
    assert understood is not None
    assert understood.opens_pull_request
    assert understood.parent is None


def test_another_header_leaves_the_operations_alone(api, sent):
    request, understood = commit(api, sent, commit_description="Why.")
    assert understood is not None
    twin = understood.with_header(mark="Mark: 1", parent="0" * 40)
    header, *operations = lines(twin)
    assert header["value"] == {"summary": "Add", "description": "Why.\n\nMark: 1", "parentCommit": "0" * 40}
    assert operations == lines(request)[1:]
    assert "parentCommit" not in lines(request)[0]["value"]
    body = twin.body if hasattr(twin, "body") else twin.content
    assert twin.headers["content-length"] == str(len(body))
    for name in ("authorization", "content-type", "x-proxy"):
        assert twin.headers[name] == request.headers[name]


def test_the_twin_makes_the_commit(api, sent, local_hub):
    _, understood = commit(api, sent)
    assert understood is not None
    response = get_session().send(understood.with_header(mark="Mark: 1", parent=local_hub.commits[-1].oid))
    assert response.json()["commitOid"] == local_hub.commits[-1].oid
    newest = api.list_repo_commits(REPO, repo_type="dataset")[0]
    assert (newest.title, newest.message) == ("Add", "Mark: 1")


def test_an_answer_is_like_the_hubs(api, sent, local_hub):
    _, understood = commit(api, sent, create_pr=True)
    assert understood is not None
    oid = local_hub.commits[-1].oid
    response = understood.answer(oid, f"{api.endpoint}/datasets/{REPO}/discussions/1")
    response.raise_for_status()
    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "hookOutput": "",
        "commitOid": oid,
        "commitUrl": f"{api.endpoint}/datasets/{REPO}/commit/{oid}",
        "pullRequestUrl": f"{api.endpoint}/datasets/{REPO}/discussions/1",
    }


def test_other_requests_go_with_its_token_and_headers(api, sent):
    _, understood = commit(api, sent)
    assert understood is not None
    understood.api().repo_info(REPO, repo_type="dataset")
    assert sent[-1].headers["authorization"] == "Bearer hf_x"
    assert sent[-1].headers["x-proxy"] == "secret"
    assert "content-length" not in sent[-1].headers
    assert "content-type" not in sent[-1].headers


class NoCommit:
    method = "POST"

    def __init__(self, body: object, url: str = "https://huggingface.co/api/models/you/textures/commit/main") -> None:
        self.body, self.url, self.headers = body, url, {}


@pytest.mark.parametrize("body", [None, b"", b"\n", b"{}\n", b"[1]\n", b'{"key": "file", "value": {}}\n', iter([b""])])
def test_what_is_no_commit_is_not_understood(body):
    request = NoCommit(body)
    route = route_of("POST", request.url)
    assert route is not None
    assert CommitRequest.of(request, route) is None


def test_a_merge_is_no_commit():
    request = NoCommit(b"{}", "https://huggingface.co/api/models/you/textures/discussions/1/merge")
    route = route_of("POST", request.url)
    assert route is not None
    assert route.kind == "commit"
    assert CommitRequest.of(request, route) is None
