"""What callers can ask of an exception."""

from __future__ import annotations

from mat_vis_hub import GaveUp, gave_up
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.errors import is_pointless, record_giving_up

HERE = Repository("https://huggingface.co", "dataset", "you/textures")
RECORD = GaveUp(calls=6, elapsed_s=450.0, waited_s=449.0, retry_in_s=60.0, reason="max_retries=5")


def given_up() -> Exception:
    error = OSError("429")
    record_giving_up(error, RECORD, HERE, until=100.0)
    return error


def raised_from(cause: Exception) -> Exception:
    error = RuntimeError("Error while uploading")
    error.__cause__ = cause
    return error


def test_what_was_tried_is_read_from_the_exception_and_from_what_wraps_it():
    assert gave_up(given_up()) == RECORD
    assert gave_up(raised_from(given_up())) == RECORD


def test_any_other_exception_has_nothing_to_say():
    assert gave_up(OSError()) is None
    assert gave_up(None) is None


def test_causes_that_go_in_a_circle_end():
    one, other = RuntimeError(), RuntimeError()
    one.__cause__, other.__cause__ = other, one
    assert gave_up(one) is None
    assert not is_pointless(one, HERE, now=0.0)


def test_another_try_is_pointless_until_the_refusal_is_over():
    assert is_pointless(raised_from(given_up()), HERE, now=99.0)
    assert not is_pointless(given_up(), HERE, now=100.0)
    assert not is_pointless(given_up(), HERE._replace(repo_id="you/others"), now=99.0)
