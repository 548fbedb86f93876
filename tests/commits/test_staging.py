"""Staged additions and deletions combine as on a file system, and are checked when they are staged.

`test_batch.py` shows what they do to a repository.
"""

from __future__ import annotations

import io

import pytest

from mat_vis_hub.commits.staging import StagingArea, addition_of, checked_path


def staged(*steps: str) -> StagingArea:
    """`staged("+a", "-b/")`: `a` is added, then the folder `b` is deleted."""
    made = StagingArea()
    for step in steps:
        if step[0] == "+":
            made.add(addition_of(step[1:], b"x"))
        else:
            made.delete(step[1:])
    return made


def steps(made: StagingArea) -> list[str]:
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
def test_the_last_operation_on_a_path_counts(made, left):
    assert steps(staged(*made)) == left
    assert steps(staged().merge(staged(*made))) == left
    for cut in range(len(made)):
        assert steps(staged(*made[:cut]).merge(staged(*made[cut:]))) == left


def test_the_later_content_wins():
    later = addition_of("a", b"later")
    made = staged("+a", "+b")
    made.add(later)
    assert made.additions["a"] is later
    assert len(made) == 2
    assert made.paths() == ["a", "b"]


def test_touched_and_deleted_paths():
    made = staged("+a", "-b", "-d/")
    assert [path for path in ("a", "b", "c", "d/e/f", "dd") if made.touches(path)] == ["a", "b", "d/e/f"]
    assert [path for path in ("a", "b", "c", "d/e/f", "dd") if made.deletes(path)] == ["b", "d/e/f"]


@pytest.mark.parametrize("path", ["a", "a/b.c", ".hidden", "..a/b..", "ä ö/日本", "a\\b"])
def test_a_valid_path(path):
    assert checked_path(path) == path


@pytest.mark.parametrize("path", ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/../b"])
def test_an_invalid_path(path):
    with pytest.raises(ValueError, match="is not the path of a file"):
        checked_path(path)


def test_a_stream_is_read_from_its_beginning(monkeypatch):
    stream = io.BytesIO(b"content")
    stream.seek(3)
    assert addition_of("a", stream).path_or_fileobj == b"content"
    monkeypatch.setattr("mat_vis_hub.commits.staging.STREAM_IN_MEMORY", 7)
    stream.seek(3)
    operation = addition_of("a", stream)
    assert operation.path_or_fileobj is stream
    assert (operation.upload_info.size, operation.upload_info.sample, stream.tell()) == (7, b"content", 0)


def test_a_stream_that_returns_fewer_bytes_than_asked_for_is_read_to_its_end(monkeypatch):
    class Pipe(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._rest = content

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            chunk, self._rest = self._rest[:2], self._rest[2:]
            return chunk

    assert addition_of("a", Pipe(b"content")).path_or_fileobj == b"content"
    monkeypatch.setattr("mat_vis_hub.commits.staging.STREAM_IN_MEMORY", 7)
    with pytest.raises(ValueError, match="cannot be rewound"):
        addition_of("a", Pipe(b"content and more"))


def test_a_tilde_in_a_local_path_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a").write_bytes(b"content")
    with addition_of("a", "~/a").as_file() as file:
        assert file.read() == b"content"
