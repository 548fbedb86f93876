"""What is said aloud holds no secret, and says how long in minutes and seconds."""

from __future__ import annotations

import pytest

from mat_vis_hub._internal.sanitize import elapsed, without_secrets

TOKEN = "hf_" + "a" * 34


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0m0s"), (59.999, "0m59s"), (725, "12m5s"), (4500, "75m0s"), (-1, "0m0s")]
)
def test_elapsed_is_minutes_and_whole_seconds(seconds, words):
    assert elapsed(seconds) == words


def test_secrets_are_blanked_by_value_and_by_look():
    assert without_secrets(f"a {TOKEN} b s3cret c", ["s3cret", None, False, ""]) == "a *** b *** c"
