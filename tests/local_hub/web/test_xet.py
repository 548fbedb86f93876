"""Xet uploads: hand-made requests for the wire format, and `hf_xet` through `HfApi`.

`hf_xet` remembers what it has sent, in memory and on disk, so it runs in processes and a cache of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from array import array
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import quote

import lz4.frame
import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import _xet

from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.local_hub.web.xet import download

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RANDOM = random.Random(0).randbytes(8 << 20)
FLOATS = array("f", (1 + i / 1000 for i in range(30_001))).tobytes() + b"odd"  # hf_xet groups such data


@pytest.fixture(scope="module")
def hub():
    """One Hub for all tests that send different content."""
    with serving() as hub:
        yield hub


@pytest.fixture
def empty_hub():
    """A Hub of its own for a test that counts what was sent."""
    with serving() as hub:
        yield hub


@contextmanager
def serving(port: int = 0) -> Iterator[LocalHub]:
    with LocalHub(limit=None, api_limit=None, port=port) as hub:
        HfApi(endpoint=hub.url, token="hf_local").create_repo("me/tst", repo_type="dataset")
        yield hub


# -- hand-made requests ----------------------------------------------------------------------------------------


def ask(url: str, body: bytes | None = None) -> tuple[int, dict, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body)) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def cas_url(hub: LocalHub) -> str:
    return ask(f"{hub.url}/api/datasets/me/tst/xet-write-token/main")[1]["casUrl"]


def test_a_write_token_is_for_callers_who_may_commit():
    with LocalHub(token="hf_local") as hub:
        HfApi(endpoint=hub.url, token="hf_local").create_repo("me/tst", repo_type="dataset")
        assert ask(f"{hub.url}/api/datasets/me/tst/xet-write-token/main")[0] == 401
        assert ask(f"{hub.url}/api/datasets/me/other/xet-write-token/main")[0] == 401
        assert ask(f"{hub.url}/api/buckets/me/tst/xet-write-token/main")[0] == 404


def send_xorb(hub: LocalHub, xorb: bytes) -> tuple[int, dict]:
    return ask(f"{cas_url(hub)}/v1/xorbs/default/{as_text(name_of(xorb))}", xorb)[:2]


def send_shard(hub: LocalHub, shard: bytes) -> tuple[int, dict]:
    return ask(f"{cas_url(hub)}/v1/shards", shard)[:2]


def stored(hub: LocalHub, content: bytes) -> bool:
    """Whether the Hub has this content already."""
    ours = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [ours]}
    _, answer, _ = ask(f"{hub.url}/datasets/me/tst.git/info/lfs/objects/batch", json.dumps(batch).encode())
    return "actions" not in answer["objects"][0]


def as_text(value: bytes) -> str:
    return b"".join(value[i : i + 8][::-1] for i in range(0, 32, 8)).hex()


def sha256(data: bytes) -> bytes:
    """Return a digest as a shard has it: `as_text` turns it into the usual hexadecimal."""
    return bytes.fromhex(as_text(hashlib.sha256(data).digest()))


name_of = sha256  # the real name is the root of a Merkle tree, but any unique name works


def chunk(data: bytes, scheme: int = 0) -> bytes:
    grouped = b"".join(data[lane::4] for lane in range(4)) if scheme == 2 else data
    packed = lz4.frame.compress(grouped) if scheme else data
    version, sizes = b"\0", [len(size).to_bytes(3, "little") for size in (packed, data)]
    return version + sizes[0] + bytes([scheme]) + sizes[1] + packed


def shard(*files: tuple[bytes, list[tuple[bytes, int, int]]], flags: int = 0xC0000000) -> bytes:
    """Build a shard of files, each with its digest, which is also its Xet hash, and terms: xorb, first chunk, end."""
    magic = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
    records = [magic + struct.pack("<QQ", 2, 0)]
    for digest, terms in files:
        records.append(digest + struct.pack("<IIQ", flags, len(terms), 0))
        records += [name_of(xorb) + struct.pack("<IIII", 0, 0, start, end) for xorb, start, end in terms]
        records += [bytes(48)] * len(terms) if flags & 1 << 31 else []
        records += [digest + bytes(16)] if flags & 1 << 30 else []
    return b"".join(records) + 2 * (b"\xff" * 32 + bytes(16))


@pytest.mark.parametrize(("repo_type", "sdk"), [("model", None), ("dataset", None), ("space", "static")])
def test_a_write_token_points_back_at_this_hub(hub, repo_type, sdk):
    HfApi(endpoint=hub.url, token="hf_local").create_repo("me/any", repo_type=repo_type, space_sdk=sdk)
    status, body, headers = ask(f"{hub.url}/api/{repo_type}s/me/any/xet-write-token/main?create_pr=1")
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
    a, b = chunk(b"one,") + chunk(b"two,") + chunk(b"three,"), chunk(b"four")
    assert send_xorb(hub, a) == (200, {"was_inserted": True})
    assert send_xorb(hub, b) == (200, {"was_inserted": True})
    first, second = b"two,three,four", b"one,two,one,"
    files = (sha256(first), [(a, 1, 3), (b, 0, 1)]), (sha256(second), [(a, 0, 2), (a, 0, 1)])
    assert send_shard(hub, shard(*files))[0] == 200
    assert stored(hub, first)
    assert stored(hub, second)


@pytest.mark.parametrize("flags", [0xC0000000, 0x40000000], ids=["with verification", "without"])
@pytest.mark.parametrize("footer", [b"", b"XETBLOB" + bytes(1000)], ids=["no footer", "footer"])
@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["stored", "lz4", "grouped lz4"])
def test_every_compression_is_understood(hub, scheme, footer, flags):
    parts = repr((scheme, footer, flags)).encode(), FLOATS
    xorb = b"".join(chunk(part, scheme) for part in parts) + footer
    assert send_xorb(hub, xorb)[0] == 200
    assert send_shard(hub, shard((sha256(b"".join(parts)), [(xorb, 0, 2)]), flags=flags))[0] == 200
    assert stored(hub, b"".join(parts))


def test_an_empty_file_has_no_terms(hub):
    assert send_shard(hub, shard((sha256(b""), [])))[0] == 200
    assert stored(hub, b"")


def test_a_xorb_can_be_sent_twice(hub):
    assert send_xorb(hub, chunk(b"twice")) == (200, {"was_inserted": True})
    assert send_xorb(hub, chunk(b"twice")) == (200, {"was_inserted": False})


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (b"\1" + chunk(b"data")[1:], "no chunk of version 0"),
        (b"\1" + RANDOM, "no chunk of version 0"),  # the client, still sending, receives the answer
        (chunk(b"data")[:-1], "ends in the middle of a chunk"),
        (chunk(b"data")[:5], "ends in the middle of a chunk"),
        (chunk(b"data")[:4] + b"\7" + chunk(b"data")[5:], "an unknown scheme: 7"),
        (chunk(b"not lz4!")[:4] + b"\1" + chunk(b"not lz4!")[5:], "does not decompress"),
        (chunk(b"data")[:5] + b"\5" + chunk(b"data")[6:], "unpacks to 4 bytes; its header says 5"),
    ],
)
def test_a_malformed_xorb_is_refused(hub, end, sentence):
    xorb = chunk(b"good") + end
    status, body = send_xorb(hub, xorb)
    assert status == 400
    assert sentence in body["error"]
    status, body = send_shard(hub, shard((sha256(b"good"), [(xorb, 0, 1)])))
    assert status == 400
    assert "never uploaded" in body["error"]


KNOWN, UNKNOWN = chunk(b"data"), chunk(b"never sent")


@pytest.mark.parametrize(
    ("shard", "sentence"),
    [
        (b"", "Not a Xet shard"),
        (b"PK" + bytes(1000), "Not a Xet shard"),
        (shard((sha256(b"data"), [(KNOWN, 0, 1)]))[:150], "ends, after 150 bytes"),
        (shard((sha256(b"data"), [(KNOWN, 0, 1)]), flags=0), "no SHA-256"),
        (shard((sha256(b"data"), [(UNKNOWN, 0, 1)])), f"{as_text(name_of(UNKNOWN))} was never uploaded"),
        (shard((sha256(b"data"), [(KNOWN, 0, 2)])), "has 1 chunks"),
        (shard((sha256(b"data"), [(KNOWN, 1, 0)])), "has 1 chunks"),
        (shard((sha256(b"other"), [(KNOWN, 0, 1)])), "hash to"),
    ],
)
def test_a_shard_without_its_content_is_refused(hub, shard, sentence):
    assert send_xorb(hub, KNOWN)[0] == 200
    status, body = send_shard(hub, shard)
    assert status == 400
    assert sentence in body["error"]
    assert not stored(hub, b"data")
    assert not stored(hub, b"other")


def test_without_lz4_the_error_says_what_to_install(hub, monkeypatch):
    xorb = chunk(b"compressed", 1)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    status, body = send_xorb(hub, xorb)
    assert status == 501, "clients retry a 500 for minutes"
    assert 'pip install "mat-vis-hub[local]"' in body["error"]


@pytest.mark.parametrize("path", ["/v1/xorb-grants/default/00", "/v2/shards", "/v1/chunks/default/00"])
def test_optional_requests_get_404(hub, path):
    assert ask(cas_url(hub) + path, b"")[0] == 404


# -- hand-made downloads ---------------------------------------------------------------------------------------


@pytest.fixture
def parts(hub, monkeypatch):
    """A committed file that came through Xet, in xorbs of 4 chunks of 10 bytes: path, content, Xet hash."""
    monkeypatch.setattr(download, "CHUNK", 10)
    monkeypatch.setattr(download, "XORB", 40)
    content = bytes(range(95))
    return "x.bin", content, committed(hub, "x.bin", content)


def committed(hub: LocalHub, path: str, content: bytes) -> str:
    """Upload a file through Xet, commit it, and return its Xet hash."""
    xorb = chunk(content)
    assert send_xorb(hub, xorb)[0] == 200
    assert send_shard(hub, shard((sha256(content), [(xorb, 0, 1)])))[0] == 200
    digest = hashlib.sha256(content).hexdigest()
    file = {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": digest, "size": len(content)}}
    header = {"key": "header", "value": {"summary": "x"}}
    body = "\n".join(map(json.dumps, (header, file))).encode()
    assert ask(f"{hub.url}/api/datasets/me/tst/commit/main", body)[0] == 200
    return digest


def fetched(url: str, **headers: str) -> tuple[int, bytes, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def test_resolve_and_lists_name_the_xet_hash(hub, parts):
    path, _, xet_hash = parts
    _, _, headers = fetched(f"{hub.url}/datasets/me/tst/resolve/main/{path}")
    assert headers["x-xet-hash"] == xet_hash
    token = re.fullmatch('<(.+)>; rel="xet-auth"', headers["link"])[1]
    assert ask(token)[1]["casUrl"] == hub.url + download.PREFIX
    lists = f"{hub.url}/api/datasets/me/tst/tree/main", f"{hub.url}/api/datasets/me/tst/paths-info/main"
    for entries in (ask(lists[0])[1], ask(lists[1], f"paths={path}".encode())[1]):
        assert {entry["path"]: entry.get("xetHash") for entry in entries}[path] == xet_hash


def test_what_did_not_come_through_xet_has_no_xet_hash(hub):
    _, _, headers = fetched(f"{hub.url}/datasets/me/tst/resolve/main/.gitattributes")
    assert not {"x-xet-hash", "link"} & headers.keys()


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [(None, 0, 95), ("bytes=0-", 0, 95), ("bytes=0-0", 0, 1), ("bytes=45-79", 45, 80), ("bytes=90-999", 90, 95)],
)
def test_a_range_of_a_file_is_put_together(hub, parts, wanted, start, end):
    _, content, xet_hash = parts
    url = f"{hub.url}{download.PREFIX}/v1/reconstructions/{xet_hash}"
    status, body, _ = fetched(url, **({"Range": wanted} if wanted else {}))
    assert status == 200
    plan = json.loads(body)
    data = b""
    for term in plan["terms"]:
        (source,) = plan["fetch_info"][term["hash"]]
        assert source["range"] == term["range"]
        span = source["url_range"]
        status, xorb, _ = fetched(source["url"], Range=f"bytes={span['start']}-{span['end']}")
        assert (status, len(xorb)) == (206, span["end"] + 1)
        unpacked = list(unpack(xorb))
        assert len(unpacked) == term["range"]["end"]
        assert len(b"".join(unpacked)) == term["unpacked_length"]
        data += b"".join(unpacked)
    assert data[plan["offset_into_first_range"] :][: end - start] == content[start:end]
    assert len(data) < end - start + 2 * 40, "more xorbs than the range needs"


def unpack(xorb: bytes):
    while xorb:
        size = int.from_bytes(xorb[1:4], "little")
        assert xorb[:8] == chunk(xorb[8 : 8 + size])[:8]
        yield xorb[8 : 8 + size]
        xorb = xorb[8 + size :]


def test_a_range_outside_of_the_file_and_unknown_files_are_refused(hub, parts):
    url = f"{hub.url}{download.PREFIX}/v1/"
    statuses = [
        fetched(f"{url}reconstructions/{parts[2]}", Range=wanted)[0] for wanted in ("bytes=95-", "bytes=5-4", "x")
    ]
    assert statuses == [416, 416, 400]
    assert fetched(f"{url}reconstructions/{'0' * 64}")[0] == 404
    assert [fetched(f"{url}files/{parts[2]}/{part}")[0] for part in ("2", "3", "x", "-1")] == [206, 404, 404, 404]


def test_a_read_token_is_for_callers_who_may_read():
    with LocalHub() as hub:
        api = HfApi(endpoint=hub.url, token="hf_local")
        api.create_repo("me/tst", private=True)
        assert ask(f"{hub.url}/api/models/me/tst/xet-read-token/main")[0] == 401
        assert ask(f"{hub.url}/api/models/me/none/xet-read-token/main")[0] == 401


# -- hf_xet ---------------------------------------------------------------------------------------------------

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
    "me/tst", paths + bytes_, repo_type="dataset", revision="main", commit_message="everything"
)
"""
FOLDER = """
import sys
from huggingface_hub import HfApi
HfApi(endpoint=sys.argv[1], token="hf_local").upload_folder(
    repo_id="me/tst", folder_path=sys.argv[2], repo_type="dataset"
)
"""
DOWNLOAD = """
import sys
from pathlib import Path
from huggingface_hub import snapshot_download
url, folder = sys.argv[1], Path(sys.argv[2])
copy = snapshot_download(
    "me/tst", repo_type="dataset", endpoint=url, token="hf_local", local_dir=folder.parent / "copy", max_workers=2
)
for path in folder.iterdir():
    assert (Path(copy) / path.name).read_bytes() == path.read_bytes(), path
"""


@pytest.fixture
def client(tmp_path):
    """Run a script in a new process. The processes of a test share a cache, which is empty at first."""
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "0"}
    environment.update(HF_HOME=str(tmp_path / "home"), HF_XET_CACHE=str(tmp_path / "home/xet"))

    def run(script: str, hub: LocalHub, folder: Path) -> None:
        command = [sys.executable, "-c", script, hub.url, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def folder(tmp_path):
    """A folder to upload."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def content(hub: LocalHub, path: str, revision: str = "main") -> bytes:
    with urllib.request.urlopen(f"{hub.url}/datasets/me/tst/resolve/{quote(revision, '')}/{path}") as response:
        return response.read()


def xorb_bytes(hub: LocalHub) -> int:
    return sum(seen.bytes_received for seen in hub.requests if "/v1/xorbs/" in seen.path)


@uploads_by_xet
@pytest.mark.parametrize("script", [COMMIT, FOLDER], ids=["create_commit", "upload_folder"])
def test_files_of_all_sizes_and_kinds_arrive_unchanged(empty_hub, client, folder, script):
    small = {f"{i:03}.bin": RANDOM[i * 1000 : i * 1000 + 20_000] for i in range(200)}
    files = {"tiny.bin": b"." * 100, "medium.bin": RANDOM[:300_000], "floats.bin": FLOATS, **small}
    files.update({"random.bin": RANDOM, "again.bin": RANDOM, "repetitive.bin": b"repeated" * (8 << 17)})
    for name, data in files.items():
        (folder / name).write_bytes(data)
    client(script, empty_hub, folder)
    paths = {path for commit in empty_hub.commits for path in commit.paths if path.endswith(".bin")}
    assert {path.rpartition("/")[2] for path in paths} == set(files)
    assert not [path for path in paths if content(empty_hub, path) != files[path.rpartition("/")[2]]]
    assert xorb_bytes(empty_hub) > len(RANDOM), "uploaded through LFS instead of Xet"


@uploads_by_xet
def test_what_came_through_xet_is_downloaded_through_xet(client, folder, tmp_path):
    files = {"tiny.bin": b"." * 100, "floats.bin": FLOATS, "random.bin": RANDOM, "empty.bin": b""}
    files["several xorbs.bin"] = RANDOM * 9  # 72 MB
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for start in range(2):  # also by a Hub that was started again
        with LocalHub(path=tmp_path / "hub", limit=None) as hub:
            if start == 0:
                HfApi(endpoint=hub.url, token="hf_local").create_repo("me/tst", repo_type="dataset")
                client(FOLDER, hub, folder)
            client(DOWNLOAD, hub, folder)
            seen = [request.path for request in hub.requests if request.endpoint == "xet-cas"]
            assert [path for path in seen if "/v1/files/" in path], "downloaded over plain HTTP"
        shutil.rmtree(tmp_path / "copy")
        shutil.rmtree(tmp_path / "home", ignore_errors=True)


@pytest.mark.skipif(not find_spec("hf_xet"), reason="hf_xet is not installed")
def test_every_generation_downloads_through_xet(empty_hub, client, folder):
    (folder / "x.bin").write_bytes(RANDOM[:300_000])
    committed(empty_hub, "x.bin", RANDOM[:300_000])
    client(DOWNLOAD, empty_hub, folder)
    assert [seen.path for seen in empty_hub.requests if "/v1/files/" in seen.path]


@uploads_by_xet
def test_a_process_can_reuse_xorbs_of_an_earlier_one(empty_hub, client, folder):
    (folder / "file.bin").write_bytes(RANDOM)
    client(COMMIT, empty_hub, folder)
    sent = xorb_bytes(empty_hub)
    (folder / "file.bin").write_bytes(RANDOM + b"and more")
    client(COMMIT, empty_hub, folder)
    assert content(empty_hub, "file.bin") == RANDOM + b"and more"
    assert xorb_bytes(empty_hub) - sent < 1 << 20


@uploads_by_xet
def test_a_new_hub_at_an_old_address_receives_everything(client, folder):
    (folder / "file.bin").write_bytes(RANDOM[: 1 << 20])
    with serving() as before:
        client(COMMIT, before, folder)
        port = int(before.url.rpartition(":")[2])
    with serving(port) as after:
        client(COMMIT, after, folder)
        assert content(after, "file.bin") == RANDOM[: 1 << 20]


@uploads_by_xet
def test_a_branch_can_have_a_slash_in_its_name(empty_hub, client, folder):
    HfApi(endpoint=empty_hub.url, token="hf_local").create_branch("me/tst", branch="release/1", repo_type="dataset")
    (folder / "file.bin").write_bytes(RANDOM[: 1 << 20])
    client(COMMIT.replace('"main"', '"release/1"'), empty_hub, folder)
    assert content(empty_hub, "file.bin", "release/1") == RANDOM[: 1 << 20]
