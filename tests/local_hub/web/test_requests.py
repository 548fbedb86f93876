"""Malformed requests: each gets an answer that says what is wrong, and breaks nothing."""

import http.client
import json

import pytest

from tests.local_hub.conftest import ndjson

SCRATCH = "/api/datasets/you/scratch"
OID = "0" * 64
FILE = {"path": "a", "content": "eA==", "encoding": "base64"}
BODIES = [
    ("POST", "/api/repos/create", {"name": "n", "organization": "you", "type": "model", "private": True}),
    ("POST", "/api/repos/create", {"name": "n", "visibility": "public", "sdk": "static"}),
    ("DELETE", "/api/repos/delete", {"name": "none", "organization": "you", "type": "model"}),
    ("POST", "/api/repos/move", {"fromRepo": "you/none", "toRepo": "you/other", "type": "dataset"}),
    ("PUT", SCRATCH + "/settings", {"private": False, "visibility": "public", "gated": False}),
    ("POST", SCRATCH + "/branch/b", {"startingPoint": "main", "emptyBranch": False}),
    ("POST", SCRATCH + "/tag/main", {"tag": "t", "message": "m"}),
    ("POST", "/api/validate-yaml", {"content": "---\na: 1\n---"}),
    ("POST", SCRATCH + "/discussions", {"title": "t", "description": "d", "pullRequest": True}),
    ("POST", SCRATCH + "/discussions/1/comment", {"comment": "c"}),
    ("POST", SCRATCH + "/discussions/1/title", {"title": "t"}),
    ("POST", SCRATCH + "/discussions/1/status", {"status": "closed"}),
    ("POST", SCRATCH + "/discussions/1/merge", {"comment": "c"}),
    ("POST", SCRATCH + "/preupload/main", {"files": [{"path": "a", "size": 1}], "gitIgnore": "*.x"}),
    ("POST", SCRATCH + "/super-squash/main", {"message": "m"}),
    ("POST", SCRATCH + "/paths-info/main", {"paths": ["a"], "expand": True}),
    ("POST", "/datasets/you/scratch.git/info/lfs/objects/batch", {
        "operation": "upload", "transfers": ["multipart"], "objects": [{"oid": OID, "size": 1}],
        "ref": {"name": "main"},
    }),
    ("POST", "/datasets/you/scratch.git/info/lfs/verify", {"oid": OID, "size": 1}),
    ("POST", f"/_lfs/{OID}/upload1/complete", {"oid": OID, "parts": [{"partNumber": 1}]}),
]  # fmt: skip
RAW = [b"{", b"[]", b"null", b"1", b"\xff\xfe", b"{} {}", b"[" * 100_000, b'{"a": NaN}', b'{"a": "\\ud800"}']
VALUES = [None, True, -1, 1.5, 1e400, 10**30, "", "x", "\0", "\ud800", [], [1], [None], [[]], [{}], {}, {"a": 1}]


def variants(body):
    """Yield `body` without one of its values, and with each of them replaced, at every depth."""
    if isinstance(body, list):
        yield from ([item] for item in variants(body[0]))
    if isinstance(body, dict):
        for name, value in body.items():
            yield {other: body[other] for other in body if other != name}
            yield from ({**body, name: variant} for variant in variants(value))
    yield from VALUES


@pytest.fixture
def statuses(local_hub, api, repo):
    """Send requests over one connection, and return their statuses. An answer that is not JSON is a failure."""
    api.create_pull_request(title="one", **repo)
    connection = http.client.HTTPConnection(local_hub.url.removeprefix("http://"), timeout=60)
    api.create_branch(branch="probe", **repo)

    def send(method, path, bodies):
        for body in bodies:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, {"Authorization": "Bearer hf_local"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status < 400 or answer.get("error") or answer.get("errors"), (path, content, answer)
            yield response.status

    yield send
    connection.close()
    # What was accepted can be read.
    api.list_repo_refs(**repo, include_pull_requests=True)
    api.repo_info(**repo)
    list(api.list_repo_commits(**repo))
    list(api.list_repo_tree(**repo, recursive=True, expand=True))
    list(api.get_repo_discussions(**repo))
    list(api.list_models())


@pytest.mark.local_hub(limit=None, api_limit=None)
@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_malformed_body_is_answered(statuses, method, path, body):
    # A merge has no body to read, and paths-info takes a form as well.
    lenient = {200, 400} if path.endswith(("/merge", "/paths-info/main")) else {400}
    assert set(statuses(method, path, RAW)) <= lenient
    assert set(statuses(method, path, variants(body))) <= {200, 400, 401, 403, 404, 409, 422, 501}


@pytest.mark.local_hub(limit=None, api_limit=None)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("header", {"summary": "s", "description": "d", "parentCommit": "0" * 40}),
        ("file", FILE),
        ("lfsFile", {"path": "a", "algo": "sha256", "oid": OID, "size": 1}),
        ("deletedFile", {"path": ".gitattributes"}),
        ("deletedFolder", {"path": "f/"}),
    ],
)
def test_a_malformed_commit_is_answered(statuses, key, value):
    items = [{"key": key, "value": variant} for variant in variants(value)]
    items += [{"key": variant, "value": value} for variant in VALUES] + VALUES
    header = b"" if key == "header" else ndjson()
    commits = [header + json.dumps(item).encode() for item in items]
    assert set(statuses("POST", SCRATCH + "/commit/main", commits)) <= {200, 400, 404, 412}


@pytest.mark.local_hub(api_limit=None)
@pytest.mark.parametrize("name", ["%00", "%2F", "%FF", "%ED%A0%80", "a%0Ab", "x" * 3000, "9" * 5000, "%C2%B2", "-1"])
def test_a_malformed_name_is_answered(statuses, name):
    for template in ("/branch/{}", "/tag/{}", "/super-squash/{}", "/discussions/{}/merge", "/preupload/{}"):
        assert set(statuses("POST", SCRATCH + template.format(name), [{"tag": "t", "files": []}])) <= {200, 400, 404}
    for template in ("/revision/{}", "/tree/{}", "/tree/main/{}", "/commits/{}", "/discussions/{}"):
        assert set(statuses("GET", SCRATCH + template.format(name), [b""])) <= {200, 404}
    assert set(statuses("PUT", f"/_lfs/{name}", [b"x"])) == {400}
    assert set(statuses("POST", f"/_lfs/{OID}/{name}/complete", [{"parts": [{"partNumber": 1}]}])) == {400}


@pytest.mark.parametrize("number", ["-1", "x", "9" * 5000, "%C2%B2", ""])
@pytest.mark.parametrize("query", ["tree/main?limit=", "commits/main?p=", "commits/main?limit="])
def test_a_malformed_number_in_a_query_is_ignored(statuses, query, number):
    assert list(statuses("GET", f"{SCRATCH}/{query}{number}", [b""])) == [200]


def test_the_error_names_the_field(repo, ask):
    for body, error in [
        ({}, '"tag" is required'),
        ({"tag": 1}, '"tag" must be a string'),
        ({"tag": "a..b"}, "Invalid reference name: a..b"),
    ]:
        assert ask("POST", SCRATCH + "/tag/main", body).json == {"error": error}
    body = {"files": [{"path": "a", "size": -1}]}
    assert ask("POST", SCRATCH + "/preupload/main", body).json["error"] == '"size" must be greater than or equal to 0'
