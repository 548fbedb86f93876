"""The Hub's sentences."""

from types import SimpleNamespace

import pytest

from mat_vis_hub import parse_retry_after
from mat_vis_hub.local_hub.messages import (
    COMMIT,
    CREATION,
    DISCUSSION,
    PULL_REQUEST,
    Wording,
    bucket_refusal,
    distance,
    quota_refusal,
    strict_distance,
)

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a minute"),
        (29.9, "less than a minute"),
        (30, "1 minute"),
        (89, "1 minute"),
        (90, "2 minutes"),
        (43 * MINUTE, "43 minutes"),
        (44 * MINUTE + 29, "44 minutes"),
        (44 * MINUTE + 30, "about 1 hour"),
        (89 * MINUTE + 29, "about 1 hour"),
        (89 * MINUTE + 30, "about 2 hours"),
        (149 * MINUTE, "about 2 hours"),
        (150 * MINUTE, "about 3 hours"),
        (DAY - 31, "about 24 hours"),
        (DAY - 30, "1 day"),
        (42 * HOUR - 31, "1 day"),
        (42 * HOUR, "2 days"),
        (29 * DAY, "29 days"),
        (30 * DAY, "about 1 month"),
        (45 * DAY, "about 2 months"),
        (90 * DAY, "3 months"),
        (364 * DAY, "11 months"),
        (365 * DAY, "about 1 year"),
        (500 * DAY, "over 1 year"),
        (700 * DAY, "almost 2 years"),
    ],
)
def test_a_wait_is_worded_as_by_date_fns(seconds, words):
    assert distance(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4.9, "less than 5 seconds"),
        (5, "less than 10 seconds"),
        (10, "less than 20 seconds"),
        (20, "half a minute"),
        (40, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 minute"),
        (89, "1 minute"),
        (90, "2 minutes"),
        (43 * MINUTE, "43 minutes"),
    ],
)
def test_with_seconds_included(seconds, words):
    assert distance(seconds, include_seconds=True) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1.4, "1 second"),
        (59.4, "59 seconds"),
        (59.5, "60 seconds"),
        (60, "1 minute"),
        (90, "2 minutes"),
        (59.5 * MINUTE, "60 minutes"),
        (HOUR, "1 hour"),
        (90 * MINUTE, "2 hours"),
        (23.5 * HOUR, "24 hours"),
        (DAY, "1 day"),
        (29.5 * DAY, "30 days"),
        (30 * DAY, "1 month"),
        (360 * DAY, "1 year"),
        (600 * DAY, "2 years"),
    ],
)
def test_the_strict_wording(seconds, words):
    assert strict_distance(seconds) == words


GRID = sorted(
    {
        step * scale + shift
        for scale in (1, 30, 1800, 0.5 * DAY)
        for step in range(121)
        for shift in (-0.6, -0.4, 0, 0.4)
    }
)


@pytest.mark.parametrize(
    "wording",
    [Wording("distance"), Wording("distance", True), Wording("strict")],
    ids=["distance", "seconds", "strict"],
)
def test_each_wording_is_read_as_an_interval_that_contains_the_wait(wording):
    for seconds in (seconds for seconds in GRID if seconds >= 0.5):
        text = quota_refusal(COMMIT, 128, HOUR, seconds, wording)
        hint = parse_retry_after(SimpleNamespace(headers={}, text=text))
        wait = min(seconds, 30 * DAY)  # no wait is longer
        assert hint.at_least <= wait <= hint.at_most, text
        # Only a word that covers much is read as a wide interval.
        assert hint.at_most - hint.at_least <= max(60, 1.1 * wait), text


LIMITED, RETRY = "You have exceeded the rate limit for", "You can retry this action in 1 day."


@pytest.mark.parametrize(
    ("action", "wording", "sentence"),
    [
        (CREATION, Wording(), f"{LIMITED} repository creation (20 per day). {RETRY}"),
        (PULL_REQUEST, Wording("window"), f"{LIMITED} pull requests (20 per day)."),
        (DISCUSSION, Wording("strict"), f"{LIMITED} discussions (20 per day). {RETRY}"),
        (
            COMMIT,
            Wording("hourly"),
            "You have exceeded our hourly quotas for action: commit. We invite you to retry later.",
        ),
    ],
)
def test_refusals_of_other_actions_and_older_wordings(action, wording, sentence):
    assert quota_refusal(action, 20, DAY, DAY, wording) == sentence


def test_the_refusal_of_a_commit_is_the_hubs_word_for_word():
    assert quota_refusal(COMMIT, 128, 3600, 2700) == (
        "You have exceeded the rate limit for repository commits (128 per hour). You can retry this action in about "
        "1 hour. To reduce the number of commits, you can upload entire folders at once using the Hub Python library: "
        "https://huggingface.co/docs/huggingface_hub/guides/upload#upload-a-folder."
    )


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (60, "per minute"),
        (3600, "per hour"),
        (86400, "per day"),
        (6, "per 6 seconds"),
        (0.5, "per 0.5 seconds"),
    ],
)
def test_common_windows_have_a_name(window, words):
    assert words in quota_refusal(COMMIT, 8, window, 1)


def test_the_refusal_of_an_api_request_names_limit_and_window():
    assert bucket_refusal(1000, 300, "api").startswith(
        "We had to rate limit you, you hit the quota of 1000 api requests per 5 minutes period. Upgrade to a PRO user"
    )
    assert "3 api requests per 2 seconds period" in bucket_refusal(3, 2, "api")
