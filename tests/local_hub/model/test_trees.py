"""Files and trees."""

from mat_vis_hub.local_hub.model.trees import EMPTY, File, difference

A, B = File.regular(b"a"), File.regular(b"b")


def paths(tree):
    return [path for path, _ in tree.walk()]


def test_ids_are_those_of_git():
    assert File.regular(b"hello\n").oid == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert EMPTY.oid == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert EMPTY.changed({"a.b": A, "a/b": B, "a0": A}).oid == "a12eafc45a83784a3f0762fb4f9a076cf4eb3990"


def test_a_large_file_is_an_lfs_pointer_in_git():
    file = File.large("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 12)
    assert file.pointer_size == 127
    assert file.oid == "ac4fe21e338c89b512763b7ec16f42e582703ce5"
    assert (file.etag, A.etag) == (file.sha256, A.oid)


def test_a_change_returns_a_new_tree():
    one = EMPTY.changed({"a/b/c": A, "d": B})
    two = one.changed({"a/b/c": None, "d": None, "e/f": A})
    assert paths(one) == ["a", "a/b", "a/b/c", "d"]
    assert paths(two) == ["e", "e/f"]  # git has no empty folders


def test_unchanged_folders_are_shared():
    one = EMPTY.changed({"a/b": A, "c/d": A})
    two = one.changed({"c/d": B})
    assert two.get("a") is one.get("a")
    assert two.get("c") is not one.get("c")


def test_one_change_can_replace_a_folder():
    one = EMPTY.changed({"a/b": A, "a/c": A})
    assert paths(one.changed({"a": None, "a/d": B})) == ["a", "a/d"]


def test_a_file_can_become_a_folder_and_a_file_again():
    one = EMPTY.changed({"a": A})
    two = one.changed({"a/b": A})
    assert paths(two) == ["a", "a/b"]
    assert paths(two.changed({"a": A})) == ["a"]


def test_the_difference_applied_to_the_old_tree_gives_the_new_one():
    old = EMPTY.changed({"same/1": A, "a/b": A, "a/c": A, "f": A, "folder/x": A, "file": B})
    new = EMPTY.changed({"same/1": A, "a/b": B, "g": A, "folder": B, "file/y": B})
    changes = difference(old, new)
    assert changes == {"a/b": new.get("a/b"), "a/c": None, "f": None, "g": A, "folder": B, "folder/x": None,
                       "file": None, "file/y": B}  # fmt: skip
    assert old.changed(changes).oid == new.oid
    assert difference(new, new) == {}
