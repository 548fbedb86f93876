"""Additions and deletions come to what they would come to on a file system; each is checked when it is made.

What these changes do to a repository is shown in `test_batch.py`.
"""

from __future__ import annotations

import io

import pytest

from mat_vis_hub.commits.staging import Changes, checked_path, operation_for


def changes(*steps: str) -> Changes:
    """`changes("+a", "-b/")`: `a` added, then the folder `b` deleted."""
    made = Changes()
    for step in steps:
        if step[0] == "+":
            made.add(operation_for(step[1:], b"x"))
        else:
            made.delete(step[1:])
    return made


def steps(made: Changes) -> list[str]:
    return [*(f"-{path}" for path in made.deletions), *(f"+{path}" for path in made.additions)]


@pytest.mark.parametrize(
    ("made", "left"),
    [
        (["+a", "+a"], ["+a"]),
        (["+a", "-a"], ["-a"]),
        (["-a", "+a"], ["+a"]),
        (["-a", "-a"], ["-a"]),
        (["+d/a", "+d/e/b", "+dd", "-d/"], ["-d/", "+dd"]),
        (["-d/a", "-d/e/", "-dd", "-d/"], ["-dd", "-d/"]),
        (["-d/", "-d/a", "-d/e/"], ["-d/"]),
        (["-d/", "+d/e/a"], ["-d/", "+d/e/a"]),
        (["-d/", "+d/e/a", "-d/e/a"], ["-d/"]),
        (["-d/", "+d"], ["-d/", "+d"]),
        (["-d", "+d/a"], ["-d", "+d/a"]),
    ],
    ids=" ".join,
)
def test_one_after_another(made, left):
    assert steps(changes(*made)) == left
    assert steps(changes().then(changes(*made))) == left
    for cut in range(len(made)):
        assert steps(changes(*made[:cut]).then(changes(*made[cut:]))) == left


def test_the_later_content_wins():
    later = operation_for("a", b"later")
    made = changes("+a", "+b")
    made.add(later)
    assert made.additions["a"] is later
    assert len(made) == 2
    assert made.paths() == ["a", "b"]


def test_what_they_touch():
    made = changes("+a", "-b", "-d/")
    assert [path for path in ("a", "b", "c", "d/e/f", "dd") if made.touches(path)] == ["a", "b", "d/e/f"]
    assert [path for path in ("a", "b", "c", "d/e/f", "dd") if made.deletes(path)] == ["b", "d/e/f"]


@pytest.mark.parametrize("path", ["a", "a/b.c", ".hidden", "..a/b..", "ä ö/日本", "a\\b"])
def test_a_path(path):
    assert checked_path(path) == path


@pytest.mark.parametrize("path", ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/../b"])
def test_no_path(path):
    with pytest.raises(ValueError, match="names with '/' between"):
        checked_path(path)


def test_a_stream_is_read_from_its_beginning(monkeypatch):
    stream = io.BytesIO(b"content")
    stream.seek(3)
    assert operation_for("a", stream).path_or_fileobj == b"content"
    monkeypatch.setattr("mat_vis_hub.commits.staging.STREAM_IN_MEMORY", 7)
    stream.seek(3)
    operation = operation_for("a", stream)
    assert operation.path_or_fileobj is stream
    assert (operation.upload_info.size, operation.upload_info.sample, stream.tell()) == (7, b"content", 0)


def test_a_local_path_may_start_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a").write_bytes(b"content")
    with operation_for("a", "~/a").as_file() as file:
        assert file.read() == b"content"
