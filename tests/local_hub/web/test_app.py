"""Whatever is sent to whichever endpoint: no answer is a 500, and afterwards every repository can still be read.

Malformed fields of bodies are in `test_requests.py`. Here the paths, queries, headers and bodies of all routes are odd.
"""

from __future__ import annotations

import json
import re
import socket
from http.client import HTTPException, HTTPResponse

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import HfApi

from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.local_hub.settings import Settings
from mat_vis_hub.local_hub.web.app import build_app
from mat_vis_hub.local_hub.web.context import HubContext

_LIMITS = "limit api_limit resolvers_limit pages_limit whoami_limit creation_limit pull_request_limit discussion_limit"
pytestmark = pytest.mark.local_hub(commit_time=0, **dict.fromkeys(_LIMITS.split()))

ODD = """
    %00 %2F %FF %ED%A0%80 a%0Ab a%0D%0AX-Evil:1 %C2%B2 é 😀 %E2%80%AE %20 a%20b % %zz %2 %25 %2525 %5C ..%5Cddd .. . ~
    %2e%2e %2e%2e%2f%2e%2e -1 0 1e9 0x10 NaN null {} {name} %7B%7D @ @{ a..b a.lock .git .git%2Fconfig a.git -a a. a--b
    HEAD main^ main~1 main:a main%00 main%2F.. main%2Fx refs refs%2F refs%2Fheads%2Fmain refs%2Ftags%2Fx refs%2Fpr%2F1
    refs%2Fpr%2F1%2F2 CON : * | [ " ' ` = ; & %3F %23 $(x) <script> you scratch main
"""
NAMES = [*ODD.split(), "x" * 300, "x" * 3000, "9" * 5000, "0" * 7, "0" * 40, "f" * 64, "", "/", "//"]
QUERIES = "cursor limit p expand expand[] recursive blobs include_prs author search type status create_pr"
VALID = {"kind": "datasets", "namespace": "you", "name": "scratch", "revision": "main", "branch": "b", "num": "1"}
VALID |= {
    "hash": "f" * 64,
    "rest": "main/a.txt",
    "path": "f",
    "oid": "0" * 64,
    "upload_id": "abc",
    "number": "1",
    "xorb": "0" * 64,
}
BODIES = [b"", b"{", b"[]", b"null", b"\xff\0", b"9" * 5000, b'{"files": null}', b"[" * 100_000]
RANGES = ["0-0", "5-", "-2", "-0", "9-1", "a-b", "", "99-100", "0-1,2-3", "--1", "1-2-3", ",", " 0 - 1 ", "0-0x1"]
RANGES += [f"0-{'9' * 30}", f"-{'9' * 30}", f"{'9' * 30}-", ",".join(f"{i}-{i}" for i in range(500))]
SHARD = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9") + bytes([2]) + bytes(15)


class Sender:
    """Sends requests that no HTTP library would send, and keeps the statuses of the answers."""

    def __init__(self, hub: LocalHub) -> None:
        self._address = hub.url.removeprefix("http://").split(":")
        self.failures: list[tuple[str, bytes]] = []
        self.api = HfApi(endpoint=hub.url, token="hf_local")
        self.api.create_repo("you/scratch", repo_type="dataset")
        files = [Add("a.txt", b"abc"), Add("f/b.bin", b"\0" * 100)]
        self.api.create_commit("you/scratch", files, commit_message="files", repo_type="dataset")
        self.api.create_pull_request("you/scratch", title="one", repo_type="dataset")
        self.cas = self.send("GET", "/api/datasets/you/scratch/xet-write-token/main")[1]

    def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        return self.send(method, path, body, **headers)[0]

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        lines = {"Host": "hub", "Authorization": "Bearer hf_local", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        request = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape")
        status, answer = self._answer(method, request + body)
        if status in (0, 500, 502, 503, 504):
            self.failures.append((f"{method} {path[:80]} {headers} -> {status}", body[:80]))
        return status, answer

    def _answer(self, method: str, request: bytes) -> tuple[int, str]:
        """The status and the body. The connection stays open, so that the server reads what it does not want."""
        with self._connect() as connection:
            connection.sendall(request)
            response = HTTPResponse(connection, method=method)
            try:
                response.begin()
                return response.status, response.read().decode("latin-1")
            except HTTPException:
                return 0, ""

    def exchange(self, request: bytes) -> bytes:
        with self._connect() as connection:
            connection.sendall(request)
            pieces = iter(lambda: connection.recv(1 << 16), b"")
            return b"".join(pieces)

    def _connect(self) -> socket.socket:
        return socket.create_connection((self._address[0], int(self._address[1])), timeout=30)

    def read_everything(self) -> None:
        """Fail unless refs, files, history and discussions of every repository can be read."""
        listed = [("model", self.api.list_models()), ("dataset", self.api.list_datasets())]
        found = [(kind, repo.id) for kind, repos in [*listed, ("space", self.api.list_spaces())] for repo in repos]
        assert ("dataset", "you/scratch") in found
        for repo_type, repo_id in found:
            repo = {"repo_type": repo_type, "repo_id": repo_id}
            refs = self.api.list_repo_refs(**repo, include_pull_requests=True)
            for ref in [*refs.branches, *refs.tags, *(refs.pull_requests or [])]:
                assert self.api.repo_info(**repo, revision=ref.ref).sha == ref.target_commit
                assert list(self.api.list_repo_tree(**repo, revision=ref.name, recursive=True, expand=True))
                assert self.api.list_repo_commits(**repo, revision=ref.name)
            assert all(item.num for item in self.api.get_repo_discussions(**repo))


@pytest.fixture
def sender(local_hub):
    sender = Sender(local_hub)
    yield sender
    assert sender.failures == []
    sender.read_everything()


def every_route(cas: str) -> list[tuple[str, str, str]]:
    """Return endpoint, method and path template of every route. That of Xet is another one at every start."""
    prefix = json.loads(cas)["casUrl"].removeprefix("http://hub")
    context = HubContext.create(Settings())
    context.store.close()
    return [
        (route.name, method, re.sub("/xet/[0-9a-f]+", prefix, route.path).replace(":path}", "}"))
        for route in build_app(context).routes
        for method in sorted(route.methods)
    ]


def filled(template: str, **values: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: values.get(name[1], VALID[name[1]]), template)


def test_odd_names_in_paths_and_queries(sender):
    routes = every_route(sender.cas)
    for number, (_, method, template) in enumerate(routes):
        for parameter in re.findall(r"\{(\w+)\}", template):
            # Many routes share their parameters: over all routes, each name has its turn.
            step = 15 if parameter in ("kind", "namespace", "name") else 3 if parameter == "rest" else 1
            names = NAMES[number % step :: step]
            for name in names:
                sender(method, filled(template, **{parameter: name}), b'{"tag": "t", "title": "t", "files": []}')
    for _, _, template in [route for route in routes if route[1] == "GET"]:
        for name in NAMES[::4]:
            sender("GET", filled(template) + "?" + "&".join(f"{query}={name}" for query in QUERIES.split()))


def test_odd_names_in_bodies(sender):
    header = {"key": "header", "value": {"summary": "s"}}
    repo = "/api/datasets/you/scratch"
    for name in [*NAMES, "\0", "a\0b", "a b", "é", "\u202e", "a\n", "../../x", "..\\x", "C:\\x", "\\\\host\\x"]:
        for path, body in [
            (f"{repo}/tag/main", {"tag": name}),
            (f"{repo}/branch/started", {"startingPoint": name}),
            ("/api/repos/create", {"name": name, "organization": "you"}),
            ("/api/repos/create", {"name": "n", "organization": name, "type": "space", "sdk": name}),
            ("/api/repos/move", {"fromRepo": "you/scratch", "toRepo": name, "type": "dataset"}),
            (f"{repo}/discussions", {"title": name, "description": name}),
            (f"{repo}/super-squash/main", {"message": name}),
        ]:
            sender("POST", path, json.dumps(body).encode())
        for key in ("file", "lfsFile", "deletedFile", "deletedFolder"):
            value = {"path": name, "content": "", "oid": "0" * 64, "algo": "sha256", "size": 1}
            items = [header, {"key": key, "value": value}]
            sender("POST", f"{repo}/commit/main?create_pr=1", "\n".join(map(json.dumps, items)).encode())


def test_odd_bodies(sender, local_hub):
    routes = every_route(sender.cas)
    for _, method, template in routes:
        for body in BODIES:
            sender(method, filled(template), body)
    assert {seen.endpoint for seen in local_hub.requests} >= {endpoint for endpoint, _, _ in routes}


def test_odd_methods_and_addresses(sender):
    for _, _, template in every_route(sender.cas):
        for method in ("PATCH", "OPTIONS", "PUT", "HEAD", "FOO"):
            sender(method, filled(template), b"x")
    for path in (
        "/",
        "//",
        "*",
        "http://other/api/models",
        "/api",
        "/api/",
        "/api//models",
        "/api/models/",
        "?",
        "/?a",
    ):
        sender("GET", path)


def test_odd_ranges(sender):
    answers = []
    for path in ("a.txt", "f/b.bin"):
        for wanted in RANGES:
            for method in ("GET", "HEAD"):
                address = f"/datasets/you/scratch/resolve/main/{path}"
                answers.append(sender(method, address, Range=f"bytes={wanted}"))
                sender(method, address, Range=wanted, If_Range="x", If_None_Match="\udcff", If_Modified_Since="never")
    assert set(answers) == {200, 206, 400, 416}


def test_odd_headers(sender):
    for name in ("Authorization", "Host", "Content_Type", "Content_Encoding", "Cookie", "X_Request_Id", "Accept"):
        for value in ("", "\udcff", "x" * 3000, "Bearer", "Bearer ", "a b", "é", "gzip", "[::1", "%00"):
            for path in ("/api/whoami-v2", "/api/datasets/you/scratch/tree/main?limit=1", "/you/none/resolve/main/a"):
                sender("GET", path, **{name: value})
            sender("POST", "/api/datasets/you/scratch/xet-write-token/main", b"x", **{name: value})
            sender("POST", "/api/datasets/you/scratch/paths-info/main", b"paths=a.txt", **{name: value})


@pytest.mark.parametrize("start", [b"", SHARD, SHARD + bytes(32) + b"\xff" * 16, SHARD + bytes(32) + b"\0\0\0\xc0"])
def test_odd_shards(sender, start):
    shards = json.loads(sender.cas)["casUrl"].removeprefix("http://hub") + "/v1/shards"
    for size in (0, 1, 7, 16, 47, 48, 96, 1000):
        for byte in (b"\0", b"\1", b"\x7f", b"\xff"):
            status = sender("POST", shards, start + byte * size)
            assert status == 400 or start


@pytest.mark.parametrize("start", [b"", b"\0", b"\1", *(bytes([0, 5, 0, 0, scheme, 5, 0, 0]) for scheme in range(4))])
def test_odd_xorbs(sender, start):
    xorbs = json.loads(sender.cas)["casUrl"].removeprefix("http://hub") + "/v1/xorbs/default/"
    for name in ("0" * 64, "x", "%00", "..", "x" * 3000):
        for size in (0, 1, 5, 7, 8, 100):
            for byte in (b"\0", b"\1", b"\xff"):
                sender("POST", xorbs + name, start + byte * size)


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # a TLS handshake
    ],
)
def test_what_is_no_http(sender, request_):
    answer = sender.exchange(request_)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 501 ", b"HTTP/1.1 505 "))
