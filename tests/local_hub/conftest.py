"""Fixtures: a scratch repository on a local Hub, `HfApi` and plain HTTP to access it, and a clock that tests move."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

import pytest
from huggingface_hub import HfApi, constants


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


CLOCK = Clock()
"""For `@pytest.mark.local_hub(clock=CLOCK.now)`: markers cannot use fixtures."""


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def ask(local_hub):
    """Send one plain HTTP request, by default with the test's token: `ask("GET", path, body=..., headers=...)`."""
    host, port = local_hub.url.removeprefix("http://").split(":")

    def ask(method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, token="hf_local"):
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    return ask


@pytest.fixture
def api(local_hub, monkeypatch):
    # Large files go through Git LFS. test_xet.py tests Xet.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return HfApi(endpoint=local_hub.url, token="hf_local")


@pytest.fixture
def repo(api):
    """The scratch repository, as the arguments that `HfApi`'s methods take."""
    api.create_repo("you/scratch", repo_type="dataset")
    return {"repo_id": "you/scratch", "repo_type": "dataset"}


@pytest.fixture
def commit(api, repo):
    """Make one commit to the scratch repository: `commit(operation, ..., revision=...)`."""

    def commit(*operations, message="a commit", **options):
        return api.create_commit(operations=operations, commit_message=message, **{**repo, **options})

    return commit


def ndjson(*items: tuple[str, dict[str, Any]], summary: str = "a commit", **header: Any) -> bytes:
    """Return the body of a commit request."""
    lines = [("header", {"summary": summary, "description": "", **header}), *items]
    return b"".join(json.dumps({"key": key, "value": value}).encode() + b"\n" for key, value in lines)
