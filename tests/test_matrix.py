"""Every road meets every kind of refusal once. What becomes of it is the table in `docs/refusals.md`.

`MAT_VIS_HUB_WRITE_MATRIX=1 python -m pytest -p no:xdist tests/test_matrix.py` writes the table for the installed
generation of huggingface_hub. Read the difference before you commit it.
"""

from __future__ import annotations

import os
import time as real_time

import pytest

from tests.matrix import DOCUMENT, GENERATION, KINDS, NOT_SENT, ROADS, Bench, exists, read_table, write_row

_sleep = real_time.sleep


@pytest.fixture
def bench(local_hub, time, monkeypatch, tmp_path) -> Bench:
    # huggingface_hub's own pauses are short here. Only the thread of a CommitScheduler waits for longer than a minute.
    monkeypatch.setattr("time.sleep", lambda seconds: _sleep(seconds if seconds > 60 else min(seconds, 0.001)))
    return Bench(local_hub, time, tmp_path)


@pytest.mark.local_hub(limit=None, creation_limit=None, pull_request_limit=None, discussion_limit=None)
@pytest.mark.filterwarnings("ignore:(?s).*upload_large_folder:FutureWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of CommitScheduler's thread
@pytest.mark.parametrize("road", ROADS)
def test_what_becomes_of_a_call_is_what_the_document_says(bench, road):
    row = bench.row(road) if exists(road) else dict.fromkeys(KINDS, NOT_SENT)
    if os.environ.get("MAT_VIS_HUB_WRITE_MATRIX"):
        write_row(road, row)
    assert row == {kind: outcomes[GENERATION] for kind, outcomes in read_table()[road].items()}


def test_the_document_has_every_road_and_every_kind():
    table = read_table()
    assert list(table) == list(ROADS)
    assert all(list(row) == list(KINDS) for row in table.values())


def test_the_document_explains_every_kind():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        assert f"* **{name}**: {kind.means}" in text


def outcomes(kind: str, *, without: str = "") -> set[str]:
    return {outcome for road, row in read_table().items() if road != without for outcome in row[kind]}


@pytest.mark.parametrize("kind", ["commits", "lock", "queue full", "queue time", "api", "resolvers", "announced"])
def test_nothing_dies_of_a_refusal_that_is_soon_over(kind):
    assert outcomes(kind) <= {"waits", NOT_SENT}


@pytest.mark.parametrize("kind", ["503", "504", "dropped", "412"])
def test_nothing_else_is_waited_out_without_recover(kind):
    assert outcomes(kind, without="transact") <= {"raises", "retried", NOT_SENT}  # a transaction builds again
