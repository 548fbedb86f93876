"""Xet uploads: hand-made ones show the wire format, and real ones come from `hf_xet` by way of `HfApi`.

A real client runs in a process and a cache of its own: it remembers, on disk and in memory, what it has sent.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from array import array
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import lz4.frame
import pytest
import uvicorn
from huggingface_hub.utils import _xet
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from mat_vis_hub.local_hub.lfs import LfsStore
from mat_vis_hub.local_hub.xet import routes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RANDOM = random.Random(0).randbytes(30 << 20)
FLOATS = array("f", (1 + i / 1000 for i in range(100_001))).tobytes() + b"odd"


class Hub:
    """The least of a Hub that `create_commit` and `upload_folder` need: preupload (all is large), commit, and Xet."""

    def __init__(self, folder: Path, url: str) -> None:
        self.store = LfsStore(folder)
        self.url = url
        self.files: dict[str, str] = {}
        self.received: list[tuple[str, int]] = []  # path, Content-Length
        api = "/api/datasets/me/tst"
        self._app = Starlette(
            routes=[
                *routes(self.store, lambda: self.url),
                Route(f"{api}/preupload/{{revision:path}}", self.preupload, methods=["POST"]),
                Route(f"{api}/commit/{{revision:path}}", self.commit, methods=["POST"]),
                Route(api, lambda _: JSONResponse({"id": "me/tst", "sha": "0" * 40})),
                Route(f"{api}/revision/main", lambda _: JSONResponse({"id": "me/tst", "sha": "0" * 40})),
            ]
        )

    async def __call__(self, scope, receive, send):
        self.received.append((scope["path"], int(dict(scope["headers"]).get(b"content-length", 0))))
        await self._app(scope, receive, send)

    async def preupload(self, request):
        paths = [file["path"] for file in (await request.json())["files"]]
        return JSONResponse({"files": [{"path": path, "uploadMode": "lfs", "shouldIgnore": False} for path in paths]})

    async def commit(self, request):
        for line in (await request.body()).splitlines():
            entry = json.loads(line)
            if entry["key"] == "lfsFile":
                self.files[entry["value"]["path"]] = entry["value"]["oid"]
        return JSONResponse({"commitUrl": f"{self.url}/datasets/me/tst/commit/{'1' * 40}", "commitOid": "1" * 40})

    def content(self, path: str) -> bytes:
        with self.store.open(self.files[path]) as file:
            return file.read()

    def xorb_bytes(self) -> int:
        return sum(size for path, size in self.received if "/v1/xorbs/" in path)


class Address:
    """A place to listen at, and whichever hub is at home there: starting a server takes longer than most tests."""

    hub: Hub

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._socket.getsockname())

    async def __call__(self, scope, receive, send):
        await self.hub(scope, receive, send)

    @contextmanager
    def listening(self) -> Iterator[Address]:
        server = uvicorn.Server(uvicorn.Config(self, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([self._socket],))
        thread.start()
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address():
    with Address().listening() as address:
        yield address


@pytest.fixture
def hub(address, tmp_path):
    address.hub = Hub(tmp_path / "hub", address.url)
    return address.hub


# -- by hand: what a client sends ------------------------------------------------------------------------------


def ask(url: str, body: bytes | None = None) -> tuple[int, dict, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body)) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def cas_url(hub: Hub) -> str:
    return ask(f"{hub.url}/api/datasets/me/tst/xet-write-token/main")[1]["casUrl"]


def send_xorb(hub: Hub, name: bytes, xorb: bytes) -> tuple[int, dict]:
    return ask(f"{cas_url(hub)}/v1/xorbs/default/{as_text(name)}", xorb)[:2]


def send_shard(hub: Hub, shard: bytes) -> tuple[int, dict]:
    return ask(f"{cas_url(hub)}/v1/shards", shard)[:2]


def as_text(value: bytes) -> str:
    return b"".join(value[i : i + 8][::-1] for i in range(0, 32, 8)).hex()


def sha256(data: bytes) -> bytes:
    """A digest as a shard carries it: such that `as_text` gives the usual hexadecimal."""
    digest = hashlib.sha256(data).digest()
    return b"".join(digest[i : i + 8][::-1] for i in range(0, 32, 8))


def chunk(data: bytes, scheme: int = 0) -> bytes:
    grouped = b"".join(data[lane::4] for lane in range(4)) if scheme == 2 else data
    packed = lz4.frame.compress(grouped) if scheme else data
    version, sizes = b"\0", [len(size).to_bytes(3, "little") for size in (packed, data)]
    return version + sizes[0] + bytes([scheme]) + sizes[1] + packed


def shard(*files: tuple[bytes, list[tuple[bytes, int, int]]], flags: int = 0xC0000000) -> bytes:
    magic = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
    records = [magic + struct.pack("<QQ", 2, 0)]
    for digest, terms in files:
        records.append(bytes(32) + struct.pack("<IIQ", flags, len(terms), 0))
        records += [xorb + struct.pack("<IIII", 0, 0, start, end) for xorb, start, end in terms]
        records += [bytes(48)] * len(terms) if flags & 1 << 31 else []
        records += [digest + bytes(16)] if flags & 1 << 30 else []
    return b"".join(records) + 2 * (b"\xff" * 32 + bytes(16))


A, B = bytes(range(32)), bytes(range(32, 64))


@pytest.mark.parametrize("kind", ["models", "datasets", "spaces"])
def test_a_write_token_points_back_at_this_hub(hub, kind):
    status, body, headers = ask(f"{hub.url}/api/{kind}/me/tst/xet-write-token/refs%2Fpr%2F1?create_pr=1")
    assert status == 200
    assert body["casUrl"].startswith(f"{hub.url}/xet/")
    assert body["exp"] > time.time() + 600
    connection = _xet.parse_xet_connection_info_from_headers({k.title(): v for k, v in headers.items()})
    assert (connection.endpoint, connection.access_token, connection.expiration_unix_epoch) == (
        body["casUrl"],
        body["accessToken"],
        body["exp"],
    )


def test_a_file_is_rebuilt_from_runs_of_chunks(hub):
    assert send_xorb(hub, A, chunk(b"one,") + chunk(b"two,") + chunk(b"three,")) == (200, {"was_inserted": True})
    assert send_xorb(hub, B, chunk(b"four")) == (200, {"was_inserted": True})
    first, second = b"two,three,four", b"one,two,one,"
    files = (sha256(first), [(A, 1, 3), (B, 0, 1)]), (sha256(second), [(A, 0, 2), (A, 0, 1)])
    assert send_shard(hub, shard(*files))[0] == 200
    for content in (first, second):
        with hub.store.open(hashlib.sha256(content).hexdigest()) as file:
            assert file.read() == content


@pytest.mark.parametrize("flags", [0xC0000000, 0x40000000], ids=["with verification", "without"])
@pytest.mark.parametrize("footer", [b"", b"XETBLOB" + bytes(1000)], ids=["no footer", "footer"])
@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["stored", "lz4", "grouped lz4"])
def test_chunks_come_compressed_or_not(hub, scheme, footer, flags):
    data = FLOATS[:100_003]
    assert send_xorb(hub, A, chunk(data, scheme) + chunk(b"xyz", scheme) + footer)[0] == 200
    assert send_shard(hub, shard((sha256(data + b"xyz"), [(A, 0, 2)]), flags=flags))[0] == 200
    assert hub.store.has(hashlib.sha256(data + b"xyz").hexdigest())


def test_an_empty_file_has_no_terms(hub):
    assert send_shard(hub, shard((sha256(b""), [])))[0] == 200
    assert hub.store.size(hashlib.sha256(b"").hexdigest()) == 0


def test_a_xorb_that_comes_twice_is_kept_once(hub):
    assert send_xorb(hub, A, chunk(b"good")) == (200, {"was_inserted": True})
    assert send_xorb(hub, A, chunk(b"evil")) == (200, {"was_inserted": False})
    assert send_shard(hub, shard((sha256(b"good"), [(A, 0, 1)])))[0] == 200


@pytest.mark.parametrize(
    ("xorb", "sentence"),
    [
        (b"\1" + chunk(b"data")[1:], "no chunk of version 0"),
        (chunk(b"data")[:-1], "ends in the middle of a chunk"),
        (chunk(b"data")[:5], "ends in the middle of a chunk"),
        (chunk(b"data")[:4] + b"\7" + chunk(b"data")[5:], "scheme unknown here: 7"),
        (chunk(b"not lz4!")[:4] + b"\1" + chunk(b"not lz4!")[5:], "does not decompress"),
        (chunk(b"data")[:5] + b"\5" + chunk(b"data")[6:], "unpacks to 4 bytes; its header says 5"),
    ],
)
def test_a_malformed_xorb_is_refused_with_a_sentence(hub, xorb, sentence):
    status, body = send_xorb(hub, A, chunk(b"good") + xorb)
    assert status == 400
    assert sentence in body["error"]
    status, body = send_shard(hub, shard((sha256(b"good"), [(A, 0, 1)])))
    assert status == 400, "no chunk of it may be used"


@pytest.mark.parametrize(
    ("shard", "sentence"),
    [
        (b"", "Not a Xet shard"),
        (b"PK" + bytes(1000), "Not a Xet shard"),
        (shard((sha256(b"data"), [(A, 0, 1)]))[:150], "ends, after 150 bytes"),
        (shard((sha256(b"data"), [(A, 0, 1)]), flags=0), "no SHA-256"),
        (shard((sha256(b"data"), [(B, 0, 1)])), f"{as_text(B)} was never uploaded"),
        (shard((sha256(b"data"), [(A, 0, 2)])), "has 1 chunks"),
        (shard((sha256(b"data"), [(A, 1, 0)])), "has 1 chunks"),
        (shard((sha256(b"other"), [(A, 0, 1)])), "hash to"),
    ],
)
def test_a_shard_that_makes_no_file_is_refused_with_a_sentence(hub, shard, sentence):
    send_xorb(hub, A, chunk(b"data"))
    status, body = send_shard(hub, shard)
    assert status == 400
    assert sentence in body["error"]
    assert not hub.store.has(hashlib.sha256(b"data").hexdigest())


def test_without_lz4_the_refusal_says_what_to_install(hub, monkeypatch):
    xorb = chunk(b"data", 1)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    status, body = send_xorb(hub, A, xorb)
    assert status == 501, "clients retry a 500 for minutes"
    assert 'pip install "mat-vis-hub[local]"' in body["error"]


@pytest.mark.parametrize("path", ["/v1/xorb-grants/default/00", "/v2/shards", "/v1/chunks/default/00"])
def test_what_is_optional_is_answered_404_and_clients_go_on_without(hub, path):
    assert ask(cas_url(hub) + path, b"")[0] == 404


# -- for real: hf_xet ------------------------------------------------------------------------------------------

uploads_by_xet = pytest.mark.skipif(
    not hasattr(_xet, "get_xet_session") or not find_spec("hf_xet"),
    reason="this huggingface_hub uploads through LFS unless the Hub asks for Xet, or hf_xet is not installed",
)

COMMIT = """
import sys
from pathlib import Path
from huggingface_hub import CommitOperationAdd, HfApi
url, folder = sys.argv[1], Path(sys.argv[2])
paths = [CommitOperationAdd(path.name, path) for path in folder.iterdir()]
bytes_ = [CommitOperationAdd("bytes/" + path.name, path.read_bytes()) for path in folder.iterdir()]
HfApi(endpoint=url, token="hf_local").create_commit(
    "me/tst", paths + bytes_, repo_type="dataset", revision="release/1", commit_message="everything"
)
"""
FOLDER = """
import sys
from huggingface_hub import HfApi
HfApi(endpoint=sys.argv[1], token="hf_local").upload_folder(
    repo_id="me/tst", folder_path=sys.argv[2], repo_type="dataset"
)
"""


@pytest.fixture
def client(tmp_path):
    """Run a script in a new process. All of a test's processes share one cache, which begins empty."""
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "0"}
    environment.update(HF_HOME=str(tmp_path / "home"), HF_XET_CACHE=str(tmp_path / "home/xet"))

    def run(script: str, hub: Hub, folder: Path) -> None:
        command = [sys.executable, "-c", script, hub.url, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def folder(tmp_path):
    """A folder to upload."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@uploads_by_xet
@pytest.mark.parametrize("script", [COMMIT, FOLDER], ids=["create_commit", "upload_folder"])
def test_files_of_every_size_and_kind_land_byte_for_byte(hub, client, folder, script):
    small = {f"{i:03}": RANDOM[i * 1000 : i * 1000 + 20_000] for i in range(200)}
    files = {"tiny": b"." * 100, "medium": RANDOM[:300_000], "random": RANDOM, "floats": FLOATS, **small}
    files.update(repetitive=b"repeated" * (30 << 17), again=RANDOM, shifted=b"." + RANDOM[: 5 << 20])
    for name, content in files.items():
        (folder / name).write_bytes(content)
    client(script, hub, folder)
    assert {name.rpartition("/")[2] for name in hub.files} == set(files)
    wrong = [name for name in hub.files if hub.content(name) != files[name.rpartition("/")[2]]]
    assert not wrong
    assert hub.xorb_bytes() > len(RANDOM), "through Xet and not through LFS"


@uploads_by_xet
def test_a_process_that_finds_chunks_in_its_cache_refers_to_xorbs_of_an_earlier_one(hub, client, folder):
    (folder / "file").write_bytes(RANDOM)
    client(COMMIT, hub, folder)
    sent = hub.xorb_bytes()
    (folder / "file").write_bytes(RANDOM + b"and more")
    client(COMMIT, hub, folder)
    assert hub.content("file") == RANDOM + b"and more"
    assert hub.xorb_bytes() - sent < 1 << 20


@uploads_by_xet
def test_a_hub_started_anew_at_an_old_address_is_sent_everything(address, client, folder, tmp_path):
    (folder / "file").write_bytes(RANDOM[: 1 << 20])
    for life in ("before", "after"):
        address.hub = Hub(tmp_path / life, address.url)
        client(COMMIT, address.hub, folder)
        assert address.hub.content("file") == RANDOM[: 1 << 20]
