"""A lock on a file: exclusive among threads and processes, and no file is left."""

from __future__ import annotations

import os
import stat

import pytest

from mat_vis_hub._internal.file_lock import FileLock


@pytest.fixture
def like(tmp_path):
    path = tmp_path / "budget.db"
    path.touch()
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "budget.db.lock"


@pytest.fixture
def locks(path, like):
    locks = [FileLock(path, like) for _ in range(3)]
    yield locks
    for lock in locks:
        lock.release()


def test_one_at_a_time(locks, path):
    one, other, third = locks
    assert (one.acquire(), other.acquire()) == (True, False)
    assert (one.is_held, other.is_held) == (True, False)
    one.release()
    assert (other.acquire(), third.acquire()) == (True, False)


def test_the_file_exists_while_it_is_held(locks, path):
    assert locks[0].acquire()
    assert path.exists()
    locks[0].release()
    assert not path.exists()
    locks[0].release()


def test_a_file_that_was_left_behind_does_not_matter(locks, path):
    path.write_text("left by a process that was killed")
    assert [lock.acquire() for lock in locks] == [True, False, False]


def test_a_file_that_its_last_holder_has_just_removed_is_not_taken(locks, path, monkeypatch):
    """Between opening the file and locking it, its holder may have gone, and others may hold a new one."""
    one, other, third = locks
    plain = os.open

    def opened_before(*args):
        file = plain(*args)
        monkeypatch.undo()
        one.release()
        assert third.acquire()
        return file

    assert one.acquire()
    monkeypatch.setattr(os, "open", opened_before)
    assert not other.acquire()
    assert third.is_held


def test_another_holders_file_is_not_removed(locks, path):
    one, other, _ = locks
    assert one.acquire()
    path.unlink()  # by somebody who tidies up
    assert other.acquire()
    one.release()
    assert path.exists()


def test_a_holder_can_be_told_from_the_next_one(locks):
    one, other, _ = locks
    assert one.holder() is None
    assert one.acquire()
    first = other.holder()
    one.release()
    assert other.acquire()
    assert first != one.holder() is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_everyone_who_may_use_the_database_may_take_the_lock(locks, path, like):
    like.chmod(0o660)
    assert locks[0].acquire()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_folder_that_does_not_exist(tmp_path, like):
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "missing" / "lock", like).acquire()
