"""A commit's request: what its header line says, the same request with another header line, and an answer to it.

The body is one JSON object per line. The first one has the message and the parent, the others are the operations. This
works with the requests of all HTTP libraries that huggingface_hub uses, without importing one of them.
"""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

from huggingface_hub import HfApi

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._hub.routes import Route

# What belongs to this one request. The other headers (token, user agent, the user's own) go with those that follow it.
_OWN_HEADERS = re.compile(
    r"accept|accept-encoding|connection|content-.*|cookie|host|transfer-encoding|x-amzn-trace-id|x-request-id"
)


class CommitRequest:
    """
    The request of a commit.

    Args:
        request (`requests.PreparedRequest`, `httpx.Request` or `httpx2.Request`): As it is sent.
        repository (`Repository`): The repository that its address names.
        revision (`str`): The branch that its address names.
        header (`dict`): The value of the header line: `summary`, `description`, and perhaps `parentCommit`.
        body (`bytes`): All lines.
    """

    def __init__(
        self, request: Any, repository: Repository, revision: str, header: dict[str, Any], body: bytes
    ) -> None:
        self._request = request
        self.repository = repository
        self.revision = revision
        self._header = header
        self._body = body

    @classmethod
    def of(cls, request: Any, route: Route) -> CommitRequest | None:
        """The commit that this request makes. `None` if it makes none, or is not understood."""
        repository, revision = route.about()
        body = _body_of(request)
        if repository is None or body is None:
            return None
        try:
            line = json.loads(body[: body.find(b"\n") + 1])
            if line["key"] != "header":
                return None
            return cls(request, repository, revision, dict(line["value"]), body)
        except (ValueError, TypeError, KeyError):
            return None

    @property
    def parent(self) -> str | None:
        """The `parent_commit` that it names."""
        return self._header.get("parentCommit")

    @property
    def opens_pull_request(self) -> bool:
        return re.search(r"[?&]create_pr=(1|true)\b", str(self._request.url)) is not None

    @property
    def page(self) -> str:
        """The address at which a person sees the repository."""
        prefix = "" if self.repository.repo_type == "model" else f"{self.repository.repo_type}s/"
        return f"{self.repository.endpoint}/{prefix}{self.repository.repo_id}"

    def with_header(self, *, mark: str, parent: str | None) -> Any:
        """The same request, with another parent, and with `mark` as the last line of its description."""
        header = {**self._header, "description": f"{self._header.get('description') or ''}\n\n{mark}".strip()}
        if parent is not None:
            header["parentCommit"] = parent
        first = json.dumps({"key": "header", "value": header}).encode()
        operations = memoryview(self._body)[self._body.index(b"\n") :]  # up to 1 GB
        return _with_body(self._request, b"".join((first, operations)))

    def answer(self, oid: str, pull_request: str | None = None) -> Any:
        """The response that the Hub would have sent, had this request made the commit `oid`."""
        body = {"success": True, "commitOid": oid, "commitUrl": f"{self.page}/commit/{oid}", "hookOutput": ""}
        if pull_request is not None:
            body["pullRequestUrl"] = pull_request
        return _response_to(self._request, json.dumps(body).encode())

    def api(self) -> HfApi:
        """Who sends other requests with this one's token and headers."""
        headers = {name: value for name, value in self._request.headers.items() if not _is_own(name)}
        return HfApi(endpoint=self.repository.endpoint, token=False, headers=headers)


def _is_own(name: str) -> bool:
    return _OWN_HEADERS.fullmatch(name.lower()) is not None


def _body_of(request: Any) -> bytes | None:
    """The body, if it is no stream."""
    try:
        body = request.body if hasattr(request, "body") else request.content
    except Exception:  # httpx raises if it is a stream
        return None
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else None


def _with_body(request: Any, body: bytes) -> Any:
    if hasattr(request, "prepare_body"):  # a request of `requests`
        twin = request.copy()
        twin.prepare_body(body, None)
        return twin
    headers = request.headers.copy()
    headers.pop("content-length", None)
    return type(request)(request.method, request.url, headers=headers, content=body, extensions=request.extensions)


def _response_to(request: Any, body: bytes) -> Any:
    """A response of the same HTTP library as `request`, with status 200 and this JSON."""
    new: Any = sys.modules[type(request).__module__].Response
    if hasattr(request, "prepare_body"):
        response = new()
        response.status_code, response.url, response.request = 200, request.url, request
        response.headers["content-type"], response.encoding = "application/json", "utf-8"
        response.raw = io.BytesIO(body)
        return response
    return new(200, headers={"content-type": "application/json"}, content=body, request=request)
