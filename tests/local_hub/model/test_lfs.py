"""The store of large files."""

import hashlib

import pytest

from mat_vis_hub.local_hub.model.lfs import LfsStore

OID = hashlib.sha256(b"content").hexdigest()


@pytest.fixture(params=["folder", "temporary"])
def store(request, tmp_path):
    store = LfsStore(tmp_path if request.param == "folder" else None)
    yield store
    store.close()


def test_what_was_put_can_be_read(store):
    assert not store.has(OID)
    store.put(OID, [b"con", b"tent"])
    assert store.has(OID)
    assert store.size(OID) == 7
    with store.open(OID) as file:
        assert file.read() == b"content"


def test_the_same_object_can_be_put_twice(store):
    store.put(OID, [b"content"])
    store.put(OID, [b"content"])
    assert store.size(OID) == 7


def test_content_with_another_hash_is_not_stored(store):
    with pytest.raises(ValueError, match="The 5 bytes received hash to"):
        store.put(OID, [b"other"])
    assert not store.has(OID)
    with pytest.raises(FileNotFoundError):
        store.open(OID)


def test_an_interrupted_upload_leaves_nothing(store):
    def broken():
        yield b"con"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.put(OID, broken())
    assert not store.has(OID)
    assert [path for path in store.path(OID).parents[2].rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("oid", ["", "abc", OID.upper(), "../" + OID[3:], OID + "0"])
def test_an_oid_must_be_a_sha256(store, oid):
    with pytest.raises(ValueError, match="Not a lowercase hexadecimal SHA-256"):
        store.put(oid, [b"content"])


def test_parts_are_joined_in_order_and_deleted(store):
    for number, part in ((2, b"tent"), (1, b"con")):
        with store.receive_part("upload1", number) as upload:
            upload.write(part)
    store.join_parts(OID, "upload1", [1, 2])
    assert store.has(OID)
    with pytest.raises(ValueError, match=r"never arrived: upload1\.1, upload1\.2"):
        store.join_parts(OID, "upload1", [1, 2])


def test_an_upload_id_cannot_be_a_path(store):
    with pytest.raises(ValueError, match="Not the id of an upload"), store.receive_part("../x", 1):
        pass


def test_closing_deletes_a_temporary_store():
    store = LfsStore()
    store.put(OID, [b"content"])
    folder = store.path(OID).parents[2]
    store.close()
    assert not folder.exists()
