"""Uploads of large files."""

import hashlib
import io

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationDelete as Delete

from mat_vis_hub.local_hub.web.routes import lfs

CONTENT = bytes(range(256)) * 100
OID = hashlib.sha256(CONTENT).hexdigest()
BATCH = "/datasets/you/scratch.git/info/lfs/objects/batch"
VERIFY = "/datasets/you/scratch.git/info/lfs/verify"


@pytest.fixture
def batch(repo, ask):
    def batch(*objects, transfers=("basic", "multipart"), **body):
        wanted = [{"oid": oid, "size": size} for oid, size in objects]
        answer = ask("POST", BATCH, {"operation": "upload", "transfers": transfers, "objects": wanted, **body})
        assert answer.json["transfer"] == "basic"  # not Xet, although some clients offer it
        return answer.json["objects"]

    return batch


@pytest.fixture
def put(local_hub, ask):
    return lambda href, content: ask("PUT", href.removeprefix(local_hub.url), content, token=None)


def endpoints(local_hub):
    return [seen.endpoint for seen in local_hub.requests if seen.endpoint.startswith("lfs-")]


def test_an_upload_is_a_batch_a_put_and_a_verification(local_hub, commit):
    commit(Add("a.bin", CONTENT))
    assert endpoints(local_hub) == ["lfs-batch", "lfs-upload", "lfs-verify"]
    (upload,) = [seen for seen in local_hub.requests if seen.endpoint == "lfs-upload"]
    assert upload.bytes_received == len(CONTENT)


def test_a_stored_file_is_not_uploaded_again(local_hub, api, commit):
    commit(Add("a.bin", CONTENT))
    api.create_repo("you/other")
    commit(Add("b.bin", CONTENT), repo_id="you/other", repo_type="model")
    assert endpoints(local_hub).count("lfs-upload") == 1


def test_equal_content_under_two_names_is_uploaded_once(local_hub, commit):
    commit(Add("a.bin", CONTENT), Add("b.bin", io.BytesIO(CONTENT)))
    assert endpoints(local_hub).count("lfs-upload") == 1


@pytest.mark.local_hub(multipart_threshold=10_000)
def test_a_file_above_the_threshold_is_uploaded_in_parts(local_hub, commit, ask):
    commit(Add("a.bin", CONTENT), Add("small.bin", b"x" * 10_000))
    uploads = [seen.bytes_received for seen in local_hub.requests if seen.endpoint == "lfs-upload"]
    assert sorted(uploads) == [5_600, 10_000, 10_000, 10_000]
    assert endpoints(local_hub).count("lfs-complete") == 1
    assert ask("GET", "/datasets/you/scratch/resolve/main/a.bin").body == CONTENT


@pytest.mark.local_hub(multipart_threshold=10_000)
def test_a_client_without_multipart_uploads_in_one_part(batch):
    (described,) = batch((OID, len(CONTENT)), transfers=["basic", "xet"])
    assert described["actions"]["upload"]["header"] == {}


@pytest.mark.local_hub(multipart_threshold=10_000)
def test_parts_must_be_complete_and_have_the_right_hash(local_hub, batch, put, ask):
    (described,) = batch((OID, len(CONTENT)))
    upload = described["actions"]["upload"]
    complete = upload["href"].removeprefix(local_hub.url)
    parts = [{"partNumber": number} for number in (1, 2, 3)]
    for number in (1, 2):
        assert put(upload["header"][str(number)], CONTENT[(number - 1) * 10_000 :][:10_000]).headers["ETag"]
    answer = ask("POST", complete, {"oid": OID, "parts": parts})
    assert (answer.status, "never arrived" in answer.json["error"]) == (400, True)
    put(upload["header"]["3"], b"something else")
    answer = ask("POST", complete, {"oid": OID, "parts": parts})
    assert (answer.status, "hash to" in answer.json["error"]) == (400, True)
    put(upload["header"]["3"], CONTENT[20_000:])
    assert ask("POST", complete, {"oid": OID, "parts": parts}).status == 200
    assert "actions" not in batch((OID, len(CONTENT)))[0]


def test_content_with_another_hash_is_not_stored(batch, put):
    (described,) = batch((OID, len(CONTENT)))
    answer = put(described["actions"]["upload"]["href"], CONTENT[:-1])
    assert answer.status == 400
    assert f"not to {OID}" in answer.json["error"]
    assert "actions" in batch((OID, len(CONTENT)))[0]


def test_verification_checks_existence_and_size(batch, put, ask):
    assert ask("POST", VERIFY, {"oid": OID, "size": len(CONTENT)}).status == 404
    put(batch((OID, len(CONTENT)))[0]["actions"]["upload"]["href"], CONTENT)
    assert ask("POST", VERIFY, {"oid": OID, "size": len(CONTENT)}).status == 200
    assert ask("POST", VERIFY, {"oid": OID, "size": 1}).status == 422


def test_an_invalid_oid_is_an_error_of_its_object(batch):
    good, bad = batch((OID, len(CONTENT)), ("../../etc/passwd", 1))
    assert "error" not in good
    assert bad["error"]["code"] == 422


@pytest.mark.local_hub(multipart_threshold=10)
def test_an_upload_has_no_more_than_10_000_parts(batch):
    assert len(batch((OID, 100_000))[0]["actions"]["upload"]["header"]) == 10_001
    (described,) = batch((OID, 10**30))
    assert described["error"]["code"] == 422
    assert "too large" in described["error"]["message"]


@pytest.mark.local_hub(token="hf_local")
def test_uploads_need_the_right_to_write(repo, ask):
    assert ask("POST", BATCH, {"operation": "upload", "objects": []}, token=None).status == 401
    assert ask("POST", BATCH.replace("scratch", "other"), {"operation": "upload", "objects": []}).status == 404


def test_lfs_files_of_the_whole_history_are_listed(api, repo, commit, ask, monkeypatch):
    made = commit(Add("a.bin", CONTENT), Add("text.txt", b"x"))
    commit(Add("again.bin", CONTENT))
    api.create_branch(branch="other", **repo)
    commit(Add("b.bin", CONTENT + b"b"), revision="other")
    commit(Add("c.bin", CONTENT + b"c"), create_pr=True)
    commit(Delete("a.bin"))
    listed = {file.filename: file for file in api.list_lfs_files(**repo)}
    assert {name: file.ref for name, file in listed.items()} == {
        "a.bin": "refs/heads/main",
        "b.bin": "refs/heads/other",
        "c.bin": "refs/pr/1",
    }
    assert (listed["a.bin"].file_oid, listed["a.bin"].size) == (OID, len(CONTENT))
    assert listed["a.bin"].pushed_at == api.list_repo_commits(**repo, revision=made.oid)[0].created_at
    monkeypatch.setattr(lfs, "LISTING_PAGE", 2)
    assert {file.filename for file in api.list_lfs_files(**repo)} == set(listed)
    api.super_squash_history(**repo)
    api.delete_branch(branch="other", **repo)
    assert {file.filename: file.ref for file in api.list_lfs_files(**repo)} == {
        "a.bin": "refs/pr/1",  # which was opened before the squash
        "b.bin": None,
        "c.bin": "refs/pr/1",
    }
