import hashlib

import pytest

from mat_vis_hub.local_hub.model.lfs import LfsStore

OID = hashlib.sha256(b"content").hexdigest()


@pytest.fixture(params=["folder", "temporary"])
def store(request, tmp_path):
    store = LfsStore(tmp_path if request.param == "folder" else None)
    yield store
    store.close()


def test_what_is_put_can_be_read(store):
    assert not store.has(OID)
    store.put(OID, [b"con", b"tent"])
    assert store.has(OID)
    assert store.size(OID) == 7
    with store.open(OID) as file:
        assert file.read() == b"content"


def test_putting_it_twice_is_fine(store):
    store.put(OID, [b"content"])
    store.put(OID, [b"content"])
    assert store.size(OID) == 7


def test_other_bytes_are_not_stored(store):
    with pytest.raises(ValueError, match="The 5 bytes received hash to"):
        store.put(OID, [b"other"])
    assert not store.has(OID)
    with pytest.raises(FileNotFoundError):
        store.open(OID)


def test_nothing_is_left_of_an_upload_that_broke_off(store):
    def broken():
        yield b"con"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.put(OID, broken())
    assert not store.has(OID)
    assert [path for path in store.path(OID).parents[2].rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("oid", ["", "abc", OID.upper(), "../" + OID[3:], OID + "0"])
def test_only_a_sha256_is_a_name(store, oid):
    with pytest.raises(ValueError, match="Not the lowercase hex SHA-256"):
        store.put(oid, [b"content"])


def test_parts_are_joined_in_order_and_forgotten(store):
    for number, part in ((2, b"tent"), (1, b"con")):
        with store.receive_part("upload1", number) as upload:
            upload.write(part)
    store.join_parts(OID, "upload1", [1, 2])
    assert store.has(OID)
    with pytest.raises(ValueError, match=r"never arrived: upload1\.1, upload1\.2"):
        store.join_parts(OID, "upload1", [1, 2])


def test_an_uploads_id_cannot_lead_elsewhere(store):
    with pytest.raises(ValueError, match="Not an upload's id"), store.receive_part("../x", 1):
        pass


def test_a_temporary_store_is_gone_when_closed():
    store = LfsStore()
    store.put(OID, [b"content"])
    folder = store.path(OID).parents[2]
    store.close()
    assert not folder.exists()
