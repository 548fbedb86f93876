"""Refusals are read right: each place for what it speaks about, each hint as the interval that it is."""

from __future__ import annotations

import math
from email.utils import formatdate
from types import MappingProxyType

import pytest

from mat_vis_hub import RetryAfter, parse_retry_after
from mat_vis_hub.retry_after import read_refusal
from mat_vis_hub.testing import virtual_time
from tests.refusals import Response, as_response, commit_quota, in_the_wild

NOON = 1_795_262_400.0  # Sat, 21 Nov 2026 12:00:00 GMT
HTTP_DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize("record", in_the_wild(), ids=lambda record: record["name"])
def test_refusals_seen_in_the_wild(record):
    hint = parse_retry_after(as_response(record))
    expected = record["expect"]
    if expected["source"] == "backoff":
        assert hint is None
    elif expected["source"] is not None:
        assert hint is not None
        assert hint.source == expected["source"]
        assert hint.limit == expected.get("limit")
        assert hint.window == expected.get("window_s")
        lowest, highest = expected["wait_s"]
        assert hint.at_least <= highest
        assert hint.at_most >= lowest or hint.at_most == 30  # "less than a minute" is said below 30 s


def test_the_quota_is_read_even_where_no_usable_wait_is_named():
    body = "You have exceeded the rate limit for repository commits (128 per hour)."
    refusal = read_refusal(Response(text=body))
    assert refusal.retry_after is None
    assert (refusal.limit, refusal.window) == (128, 3600.0)


class TestRetryAfterHeader:
    @pytest.mark.parametrize(
        ("value", "seconds"), [("30", 30.0), (" 7 ", 7.0), ("1.5", 1.5), ("999999999999", 1e12 - 1)]
    )
    def test_seconds(self, value, seconds):
        assert parse_retry_after(Response({"Retry-After": value})) == RetryAfter(seconds, seconds, "retry-after")

    @pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
    def test_header_names_have_no_case(self, name):
        assert parse_retry_after(Response({name: "30"})) is not None

    @pytest.mark.parametrize(
        "date",
        ["Sat, 21 Nov 2026 12:01:15 GMT", "Saturday, 21-Nov-26 12:01:15 GMT", "Sat Nov 21 12:01:15 2026"],
        ids=["IMF-fixdate", "RFC 850", "asctime"],
    )
    def test_the_three_forms_of_a_date_against_the_response_s_own_clock(self, date):
        hint = parse_retry_after(Response({"Retry-After": date, "Date": HTTP_DATE}), now=NOON + 1e6)
        assert hint == RetryAfter(75.0, 75.0, "retry-after")

    def test_a_day_of_one_digit_in_asctime_form(self):
        headers = {"Retry-After": "Sun Nov  1 12:00:10 2026", "Date": "Sun, 01 Nov 2026 12:00:00 GMT"}
        assert parse_retry_after(Response(headers)).at_least == 10.0

    @pytest.mark.parametrize("own_date", [None, "yesterday, more or less"])
    def test_without_a_usable_date_of_its_own_it_is_read_against_now(self, own_date):
        headers = {"Retry-After": "Sat, 21 Nov 2026 12:01:00 GMT"} | ({"Date": own_date} if own_date else {})
        assert parse_retry_after(Response(headers), now=NOON).at_least == 60.0

    def test_now_defaults_to_the_package_s_clock(self):
        with virtual_time() as time:
            time.advance(10 * 86400)
            date = formatdate(time.wall() + 100, usegmt=True)
            assert parse_retry_after(Response({"Retry-After": date})).at_least == pytest.approx(100, abs=1)

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "soon",
            "-5",
            "0",
            "1e3",
            "inf",
            "nan",
            "0x10",
            "٣٠",
            "30 seconds",
            "30,60",
            "9" * 400,
            "Sat, 99 Nov 2026 12:00:00 GMT",
        ],
    )
    def test_garbage_and_zero_say_nothing(self, value):
        assert parse_retry_after(Response({"Retry-After": value, "Date": HTTP_DATE})) is None

    def test_a_date_in_the_past_says_nothing(self):
        headers = {"Retry-After": "Sat, 21 Nov 2026 11:59:00 GMT", "Date": HTTP_DATE}
        assert parse_retry_after(Response(headers)) is None


class TestRateLimitHeader:
    def test_a_spent_bucket_is_the_cause(self):
        headers = {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
        assert parse_retry_after(Response(headers)) == RetryAfter(55.0, 55.0, "ratelimit")

    @pytest.mark.parametrize(
        "value", ['"api"; r=0 ; t=55', '"api";t=55;r=0', '"api";r=0;t=55;pk=:x:', '"API";R=0;T=55']
    )
    def test_spelling(self, value):
        assert parse_retry_after(Response({"RateLimit": value})).at_least == 55.0

    def test_a_bucket_with_requests_left_is_not_the_cause_but_a_floor(self):
        refusal = read_refusal(Response({"RateLimit": '"api";r=949;t=271'}))
        assert refusal.retry_after is None
        assert refusal.floor == 271.0

    def test_of_several_buckets_only_the_spent_ones_count(self):
        hint = parse_retry_after(Response({"RateLimit": '"api";r=949;t=271, "pages";r=0;t=40, "resolvers";r=0;t=90'}))
        assert hint.at_least == 90.0

    @pytest.mark.parametrize(
        "value", ["", "api", '"api";r=0', '"api";t=55', '"api";r=x;t=55', '"api";r=0;t=-5', '"api";r=0;t=0']
    )
    def test_garbage_says_nothing(self, value):
        assert parse_retry_after(Response({"RateLimit": value})) is None


class TestSentence:
    @pytest.mark.parametrize(
        ("words", "at_least", "at_most"),
        [
            ("less than a minute", 0, 30),
            ("1 minute", 30, 90),
            ("2 minutes", 90, 150),
            ("44 minutes", 43.5 * 60, 44.5 * 60),
            ("about 1 hour", 44.5 * 60, 89.5 * 60),
            ("about 2 hours", 89.5 * 60, 149.5 * 60),
            ("about 24 hours", 1409.5 * 60, 1469.5 * 60),
            ("1 day", 1439.5 * 60, 2519.5 * 60),
            ("2 days", 2159.5 * 60, 3599.5 * 60),
            ("less than 5 seconds", 0, 5),
            ("half a minute", 0, 60),
            ("about an hour", 44.5 * 60, 89.5 * 60),
            ("30 seconds", 30, 30),
            ("45s", 45, 45),
            ("1.5 seconds", 1.5, 1.5),
        ],
    )
    def test_a_wait_in_words_is_an_interval(self, words, at_least, at_most):
        hint = parse_retry_after(commit_quota(words))
        assert hint == RetryAfter(pytest.approx(at_least), pytest.approx(at_most), "body", 128, 3600.0)

    @pytest.mark.parametrize("words", ["about 1 month", "3 months", "about 1 year", "over 2 years"])
    def test_months_and_years_are_long(self, words):
        assert parse_retry_after(commit_quota(words)).at_least >= 86400

    @pytest.mark.parametrize(
        "sentence",
        [
            "Retry after 45 seconds.",
            "Please try again in 45 seconds",
            "you can RETRY this action in 45 SECONDS",
            "Too many requests, retry your request after 45 secs.",
            "<html><body><p>Slow down. Retry in 45s.</p></body></html>",
        ],
    )
    def test_other_servers_words(self, sentence):
        assert parse_retry_after(Response(text=sentence)).at_least == 45.0

    @pytest.mark.parametrize(
        "body",
        [
            '{"error": "Retry after 45 seconds."}',
            '{"message": "Retry after 45 seconds."}',
            '{"errors": [{"message": "slow down"}, {"message": "Retry\\u00a0after\\n45 seconds."}]}',
            '"Retry after 45 seconds."',
        ],
    )
    def test_wherever_it_stands_in_json(self, body):
        assert parse_retry_after(Response(text=body)).at_least == 45.0

    def test_the_hub_s_error_header_counts_as_body(self):
        hint = parse_retry_after(Response({"X-Error-Message": "You can retry this action in 2 minutes."}))
        assert (hint.source, hint.at_most) == ("body", 150.0)

    def test_a_hint_about_another_quota_is_no_answer_but_a_floor(self):
        body = "Retry after 271 seconds (949/1000 requests remaining in current 300s window)."
        refusal = read_refusal(Response(text=body))
        assert refusal.retry_after is None
        assert refusal.floor == 271.0

    def test_the_same_words_with_nothing_remaining_are_the_answer(self):
        body = "Retry after 55 seconds (0/1000 requests remaining in current 300s window)."
        assert parse_retry_after(Response(text=body)) == RetryAfter(55.0, 55.0, "body")

    @pytest.mark.parametrize(
        "body",
        [
            "You have exceeded our hourly quotas for action: commit. We invite you to retry later.",
            "you hit the quota of 1000 api requests per 5 minutes period",
            "retry in a while",
            "Do not retry. Wait 5 minutes.",
            "retry in 0 seconds",
            "",
            "{",
            "[" * 100_000,
            "null",
            '{"error": null}',
        ],
    )
    def test_no_wait_is_read_where_none_is_named(self, body):
        assert parse_retry_after(Response(text=body)) is None

    @pytest.mark.parametrize(
        ("quota", "limit", "window"),
        [
            ("128 per hour", 128, 3600.0),
            ("1,280 per hour", 1280, 3600.0),
            ("8 per 6 seconds", 8, 6.0),
            ("10 per minute", 10, 60.0),
            ("500 per day", 500, 86400.0),
            ("many per hour", None, None),
        ],
    )
    def test_the_quota(self, quota, limit, window):
        text = (
            f"You have exceeded the rate limit for repository commits ({quota}). You can retry this action in 1 minute."
        )
        hint = parse_retry_after(Response(text=text))
        assert (hint.limit, hint.window) == (limit, window)

    def test_the_quota_of_another_bucket_is_not_taken_for_commits(self):
        hint = parse_retry_after(
            Response({"RateLimit": '"api";r=0;t=55'}, "you hit the quota of 1000 api requests per 5 minutes period")
        )
        assert (hint.limit, hint.window) == (None, None)


class TestTheLongestWins:
    def test_sentence_over_header(self):
        hint = parse_retry_after(commit_quota("43 minutes", **{"Retry-After": "30"}))
        assert hint.source == "body"

    def test_header_over_sentence_keeps_the_quota(self):
        hint = parse_retry_after(commit_quota("about 1 hour", **{"Retry-After": "3000"}))
        assert hint == RetryAfter(3000.0, 3000.0, "retry-after", 128, 3600.0)

    def test_spent_bucket_over_sentence(self):
        hint = parse_retry_after(commit_quota("1 minute", RateLimit='"api";r=0;t=271'))
        assert (hint.source, hint.at_least) == ("ratelimit", 271.0)


class TestOddResponses:
    def test_no_headers_and_no_text_at_all(self):
        assert parse_retry_after(object()) is None

    def test_a_body_that_cannot_be_read(self):
        class Streamed:
            headers = MappingProxyType({"Retry-After": "30"})

            @property
            def text(self):
                raise RuntimeError("the body has not been read")

        assert parse_retry_after(Streamed()).at_least == 30.0

    def test_a_huge_body_is_read_in_no_time_and_only_at_its_head(self):
        assert parse_retry_after(Response(text="retry after " * 3_000_000 + "45 seconds")) is None

    def test_a_wait_beyond_all_measure_stays_a_number(self):
        hint = parse_retry_after(Response(text="retry in 999999999999 days"))
        assert math.isfinite(hint.at_most)
