"""How large the next commit is: by how long earlier ones took."""

from __future__ import annotations

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from mat_vis_hub.commits.pacer import FIRST, Pacer, bytes_of, units_of


def run(files: int, seconds_per_file: float, *, base: float = 1.0, cut_off: float = 60.0) -> tuple[list[float], int]:
    """The sizes of the commits that land, and how many were cut off."""
    pacer, sizes, timeouts = Pacer(), [], 0
    while files > 0:
        size = min(files, int(pacer.room))
        seconds = base + size * seconds_per_file
        if seconds > cut_off:
            timeouts += 1
            pacer.cut_off(size)
            continue
        pacer.landed(size, seconds)
        sizes.append(size)
        files -= size
    return sizes, timeouts


@pytest.mark.parametrize("seconds_per_file", [0.0, 0.001, 0.02, 0.05, 0.1])
def test_few_more_commits_than_the_fewest_below_40_seconds(seconds_per_file):
    sizes, timeouts = run(60_000, seconds_per_file)
    fewest = 60_000 / ((40 - 1) / seconds_per_file) if seconds_per_file else 1
    assert timeouts == 0
    assert len(sizes) <= max(6, 1.2 * fewest)


@pytest.mark.parametrize("seconds_per_file", [0.3, 1.0, 5.0, 30.0])
def test_slow_files_cost_few_timeouts(seconds_per_file):
    sizes, timeouts = run(3000, seconds_per_file)
    assert timeouts <= 8
    assert max(sizes) * seconds_per_file < 60


def test_a_commit_after_one_that_was_cut_off_is_half_as_large_and_grows_slowly():
    pacer = Pacer()
    pacer.cut_off(200)
    assert pacer.room == 100
    rooms = []
    for _ in range(10):
        pacer.landed(pacer.room, 1.0)
        rooms.append(pacer.room)
    assert rooms == sorted(rooms)
    assert rooms[-1] < 200


def test_no_commit_is_smaller_than_one_operation():
    pacer = Pacer()
    for _ in range(20):
        pacer.cut_off(pacer.room)
    assert pacer.room == 1


def test_a_small_commit_says_nothing_about_a_large_one():
    pacer = Pacer()
    pacer.landed(1, 1.0)
    assert pacer.room == FIRST
    pacer.landed(1, 50.0)  # but if even this one was slow, the next one must not be larger
    assert pacer.room == 1


def test_regular_content_counts_by_its_bytes():
    small, large = CommitOperationAdd("a.txt", b"x"), CommitOperationAdd("b.txt", bytes(4_000_000))
    assert (units_of(small), units_of(large), bytes_of(large)) == (1, 10, 4_000_000)
    large._upload_mode = "lfs"
    assert (units_of(large), bytes_of(large)) == (1, 0)
    assert units_of(CommitOperationDelete("c.txt")) == 1
