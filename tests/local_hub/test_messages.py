"""The Hub's sentences."""

import pytest

from mat_vis_hub.local_hub.messages import COMMIT, bucket_refusal, distance, quota_refusal

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
    ],
)
def test_a_wait_is_worded_as_by_date_fns(seconds, words):
    assert distance(seconds) == words


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
