"""A refusal is read: each place for what it is about, each hint as an interval, whatever else the body holds."""

from __future__ import annotations

import json
from email.message import Message
from email.utils import formatdate
from time import process_time
from types import MappingProxyType, SimpleNamespace
from typing import ClassVar

import pytest
from urllib3 import HTTPHeaderDict

from mat_vis_hub import RetryAfter, parse_retry_after
from mat_vis_hub.retry_after import Refusal, read_refusal
from mat_vis_hub.testing import virtual_time
from tests.refusals import Response, as_response, commit_quota, in_the_wild, other_refusals

NOON = 1_795_262_400.0  # Sat, 21 Nov 2026 12:00:00 GMT
HTTP_DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


class TestSamples:
    @pytest.mark.parametrize("record", in_the_wild(), ids=lambda record: record["name"])
    def test_refusals_of_the_hub(self, record):
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
            assert hint.at_most >= lowest

    @pytest.mark.parametrize("record", in_the_wild(), ids=lambda record: record["name"])
    def test_what_refused_it(self, record):
        limiters = {"api-bucket-spent": "api"} | {
            sample["name"]: "commits"
            for sample in in_the_wild()
            if "repository commits" in sample["body"] or "action: commit" in sample["body"]
        }
        assert read_refusal(as_response(record)).limiter == limiters.get(record["name"], "unknown")

    OTHERS: ClassVar = {
        "commit-lock": Refusal(None, limiter="lock"),
        "another-409": Refusal(None),
        "git-queue-full": Refusal(None, limiter="queue"),
        "compare-and-swap-lost": Refusal(None),
        "race-without-parent": Refusal(None),
        "race-without-parent-recover": Refusal(None),
        "api-bucket-info": Refusal(RetryAfter(55.0, 55.0, "ratelimit"), limiter="api"),
        "api-bucket-create-repo": Refusal(RetryAfter(12.0, 12.0, "ratelimit"), limiter="api"),
        "resolvers-bucket-download": Refusal(RetryAfter(9.0, 9.0, "ratelimit"), limiter="resolvers"),
        "creation-quota-existing": Refusal(
            RetryAfter(86_370.0, 151_170.0, "body"), 188.0, limiter="creation", other_action=True
        ),
        "creation-quota-new": Refusal(
            RetryAfter(86_370.0, 151_170.0, "body"), 188.0, limiter="creation", other_action=True
        ),
        "hour-named-no-wait": Refusal(None, 271.0, 128, 3600.0, "commits"),
        "quota-of-pull-requests": Refusal(RetryAfter(2370.0, 2430.0, "body"), 271.0, other_action=True),
        "busy-503": Refusal(RetryAfter(5.0, 5.0, "retry-after")),
        "outage-of-two-minutes": Refusal(None),
        "gateway-lands-late": Refusal(None),
        "xet-token-refused": Refusal(RetryAfter(40.0, 40.0, "ratelimit"), limiter="api"),
    }

    @pytest.mark.parametrize("record", other_refusals(), ids=lambda record: record["name"])
    def test_other_responses_of_the_hub(self, record):
        assert read_refusal(as_response(record)) == self.OTHERS[record["name"]]


def test_the_quota_is_read_even_if_no_usable_wait_is_named():
    body = "You have exceeded the rate limit for repository commits (128 per hour)."
    refusal = read_refusal(Response(text=body))
    assert refusal.retry_after is None
    assert (refusal.limit, refusal.window) == (128, 3600.0)


class TestLimiter:
    @pytest.mark.parametrize(
        ("sentence", "limiter"),
        [
            ("You have exceeded the rate limit for repository commits (128 per hour).", "commits"),
            ("You have exceeded our hourly quotas for action: commit. We invite you to retry later.", "commits"),
            ("maximum queue size reached", "queue"),
            ("Maximum time in concurrency queue reached", "queue"),
            ("Another commit operation is in progress for this repository. Please try again later.", "lock"),
            ("You have exceeded the rate limit for repository creation (300 per day).", "creation"),
            ("You have exceeded our hourly quotas for action: repo creation.", "creation"),
            ("you hit the quota of 1000 api requests per 5 minutes period", "api"),
            ("you hit the quota of 2,500 api requests per 5 minutes period", "api"),
            ("you hit the quota of 5000 resolvers requests per 5 minutes period", "resolvers"),
            ("you hit the quota of 100 pages requests per 5 minutes period", "unknown"),
            ("You have exceeded the rate limit for pull requests (10 per hour).", "unknown"),
            ("You have exceeded the rate limit for discussions (10 per hour).", "unknown"),
            ("You have exceeded our hourly quotas for action: discussion.", "unknown"),
            ("Too Many Requests", "unknown"),
            ("", "unknown"),
        ],
    )
    def test_by_the_sentence(self, sentence, limiter):
        assert read_refusal(Response(text=json.dumps({"error": sentence}))).limiter == limiter

    @pytest.mark.parametrize(
        ("sentence", "other_action"),
        [
            ("You have exceeded the rate limit for repository commits (128 per hour).", False),
            ("You have exceeded the rate limit for repository creation (300 per day).", True),
            ("You have exceeded the rate limit for pull requests (10 per hour).", True),
            ("You have exceeded our hourly quotas for action: discussion.", True),
            ("you hit the quota of 1000 api requests per 5 minutes period", False),
            ("Too Many Requests", False),
        ],
    )
    def test_a_quota_of_another_action_is_recognised(self, sentence, other_action):
        assert read_refusal(Response(text=sentence)).other_action is other_action

    @pytest.mark.parametrize(
        ("header", "limiter"),
        [
            ('"api";r=0;t=55', "api"),
            ('"resolvers";r=0;t=55', "resolvers"),
            ('"api";r=3;t=55, "resolvers";r=0;t=55', "resolvers"),
            ('"pages";r=0;t=55', "unknown"),
            ('"api";r=949;t=271', "unknown"),
        ],
    )
    def test_by_the_spent_bucket(self, header, limiter):
        assert read_refusal(Response({"RateLimit": header})).limiter == limiter

    def test_the_sentence_outranks_the_bucket(self):
        assert read_refusal(commit_quota("1 minute", RateLimit='"api";r=0;t=271')).limiter == "commits"

    @pytest.mark.parametrize(
        "sentence", ["maximum queue size reached", "Another commit operation is in progress for this repository."]
    )
    @pytest.mark.parametrize("header", ['"api";r=949;t=271', '"api";r=0;t=271'])
    def test_contention_has_nothing_to_do_with_the_buckets(self, sentence, header):
        refusal = read_refusal(Response({"RateLimit": header}, sentence))
        assert (refusal.retry_after, refusal.floor) == (None, 0.0)

    def test_contention_with_a_wait_of_its_own(self):
        refusal = read_refusal(
            Response({"Retry-After": "3", "RateLimit": '"api";r=0;t=271'}, "maximum queue size reached")
        )
        assert refusal.retry_after == RetryAfter(3.0, 3.0, "retry-after")


class TestRetryAfterHeader:
    @pytest.mark.parametrize(
        ("value", "seconds"), [("30", 30.0), (" 7 ", 7.0), ("1.5", 1.5), ("999999999999", 30 * 86400.0)]
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
            "9" * 400,
            "9" * 5000,
            "," * 5000,
            "Sat, 99 Nov 2026 12:00:00 GMT",
        ],
    )
    def test_garbage_and_zero_say_nothing(self, value):
        assert parse_retry_after(Response({"Retry-After": value, "Date": HTTP_DATE})) is None

    def test_a_date_in_the_past_says_nothing(self):
        headers = {"Retry-After": "Sat, 21 Nov 2026 11:59:00 GMT", "Date": HTTP_DATE}
        assert parse_retry_after(Response(headers)) is None

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("30, 60", 60.0),
            ("60,30", 60.0),
            ("30, Sat, 21 Nov 2026 12:01:15 GMT", 75.0),
            ("Sat, 21 Nov 2026 12:01:15 GMT, 30", 75.0),
            ("Saturday, 21-Nov-26 12:01:15 GMT, Sat, 21 Nov 2026 12:02:00 GMT", 120.0),
            ("Sat Nov 21 12:01:15 2026, 90", 90.0),
            ("soon, 30", 30.0),
            ("30, soon", 30.0),
        ],
    )
    def test_of_two_the_longest_wins(self, value, seconds):
        assert parse_retry_after(Response({"Retry-After": value, "Date": HTTP_DATE})).at_least == seconds

    @pytest.mark.parametrize(
        "headers",
        [
            HTTPHeaderDict([("Retry-After", "30"), ("Retry-After", "60")]),
            [("Retry-After", "30"), ("retry-after", "60")],
            [(b"Retry-After", b"30"), (b"Retry-After", b"60")],
            {"Retry-After": ["30", "60"]},
            {"Retry-After": "30", "retry-after": "60"},
        ],
        ids=["urllib3", "pairs", "pairs of bytes", "lists", "two spellings"],
    )
    def test_two_headers_are_read_from_any_kind_of_headers(self, headers):
        assert parse_retry_after(Response(headers)).at_least == 60.0

    def test_two_headers_are_read_from_an_email_message(self):
        headers = Message()
        headers["Retry-After"] = "30"
        headers["Retry-After"] = "60"
        assert parse_retry_after(Response(headers)).at_least == 60.0

    def test_a_date_of_the_far_future_is_no_more_than_30_days(self):
        headers = {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": HTTP_DATE}
        assert parse_retry_after(Response(headers)).at_least == 30 * 86400


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
            ("less than a minute", 0, 60),
            ("1 minute", 30, 90),
            ("2 minutes", 90, 150),
            ("44 minutes", 43.5 * 60, 44.5 * 60),
            ("about 1 hour", 44.5 * 60, 89.5 * 60),
            ("about 2 hours", 89.5 * 60, 149.5 * 60),
            ("about 24 hours", 1409.5 * 60, 1439.5 * 60),
            ("1 hour", 60 * 60, 90 * 60),
            ("2 hours", 90 * 60, 150 * 60),
            ("24 hours", 1410 * 60, 1440 * 60),
            ("60 minutes", 59.5 * 60, 60 * 60),
            ("1 day", 1439.5 * 60, 2519.5 * 60),
            ("2 days", 2159.5 * 60, 3600 * 60),
            ("30 days", (29.5 * 1440 - 0.5) * 60, 30 * 86400),
            ("less than a second", 0, 1),
            ("less than 5 seconds", 0, 5),
            ("less than 10 seconds", 5, 10),
            ("less than 20 seconds", 10, 20),
            ("half a minute", 20, 40),
            ("about 1 month", 43199.5 * 60, 30 * 86400),
            ("less than 1 minute", 0, 60),
            ("less than 2 minutes", 0, 120),
            ("1 week", 3.5 * 86400, 10.5 * 86400),
            ("about an hour", 44.5 * 60, 89.5 * 60),
            ("30 seconds", 29.5, 30.5),
            ("60 seconds", 59.5, 60),
            ("1.5 seconds", 1.5, 1.5),
        ],
    )
    def test_a_wait_in_words_is_an_interval(self, words, at_least, at_most):
        hint = parse_retry_after(commit_quota(words))
        assert hint == RetryAfter(pytest.approx(at_least), pytest.approx(at_most), "body", 128, 3600.0)

    @pytest.mark.parametrize(
        "words",
        [
            "about 2 months",
            "1 month",
            "3 months",
            "about 1 year",
            "over 1 year",
            "almost 2 years",
            "1 year",
            "999999999999 days",
            "999999999999 hours",
            "999999999999 seconds",
        ],
    )
    def test_no_wait_is_longer_than_30_days(self, words):
        hint = parse_retry_after(commit_quota(words))
        assert (hint.at_least, hint.at_most) == (30 * 86400, 30 * 86400)

    @pytest.mark.parametrize(
        "sentence",
        [
            "Retry after 45 seconds.",
            "Please try again in 45 seconds",
            "you can RETRY this in 45 SECONDS",
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
    def test_it_is_found_anywhere_in_json(self, body):
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
            ("0 per hour", None, 3600.0),
            ("20000000 per hour", None, 3600.0),
            ("500 per 999999999 days", 500, 30 * 86400.0),
            ("500 per 0 days", 500, None),
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
    def test_no_headers_and_no_body_at_all(self):
        assert read_refusal(object()) == Refusal(None)

    @pytest.mark.parametrize("headers", [None, 5, "text", [1, 2], {1: None}, {"Retry-After": ...}], ids=repr)
    def test_headers_of_any_kind(self, headers):
        assert read_refusal(SimpleNamespace(headers=headers, text="Retry in 5 seconds")).retry_after.at_least == 5.0

    @pytest.mark.parametrize(
        "body",
        [
            b'"Too many requests"',
            b"429",
            b"null",
            b"[]",
            b"{}",
            b"true",
            b"caf\xe9",
            b"\xff\xfe\x00",
            b"\x1f\x8b\x08",
            b"9" * 5000,
        ],
        ids=ascii,
    )
    def test_a_body_that_says_nothing_is_a_refusal_without_a_wait(self, body):
        assert read_refusal(SimpleNamespace(headers={}, content=body)) == Refusal(None)
        assert parse_retry_after(SimpleNamespace(headers={"Retry-After": "5"}, content=body)).at_least == 5.0

    @pytest.mark.parametrize(
        "body",
        [
            b"caf\xe9: retry in 45 seconds",
            b'{"error": "caf\xe9: retry in 45 seconds"}',
            b'\xef\xbb\xbf{"error": "Retry in 45 seconds"}',
            b'{"error": "Retry in 45 seconds", "n": ' + b"9" * 5000 + b"}",
            b'{"error": "Retry in 45 seconds", "more": "cut of',
        ],
        ids=["not UTF-8", "JSON that is not UTF-8", "byte order mark", "long number", "cut off"],
    )
    def test_a_sentence_is_found_in_a_damaged_body(self, body):
        assert parse_retry_after(SimpleNamespace(headers={}, content=body)).at_least == 45.0

    def test_the_bytes_are_read_where_the_client_cannot_decode_them(self):
        class Response:
            headers = MappingProxyType({})
            content = b"Retry in 45 seconds"

            @property
            def text(self):
                raise LookupError("unknown encoding")

        assert parse_retry_after(Response()).at_least == 45.0

    def test_a_body_that_cannot_be_read_leaves_the_headers(self):
        class Streamed:
            headers = MappingProxyType({"Retry-After": "30"})

            @property
            def content(self):
                raise RuntimeError("the body has not been read")

            text = content

        assert parse_retry_after(Streamed()).at_least == 30.0

    @pytest.mark.parametrize("digits", ["5" * 5000, "0" * 5000], ids=["5...", "0..."])
    def test_a_count_of_more_digits_than_python_converts(self, digits):
        assert (
            parse_retry_after(Response(text=f"Retry after 5 seconds ({digits}/1 requests remaining)")).at_least == 5.0
        )

    def test_sentences_of_two_strings_are_not_read_as_one(self):
        assert parse_retry_after(Response(text='["Please retry", "in 5 minutes"]')) is None

    def test_a_huge_body_is_read_only_at_its_beginning(self):
        assert parse_retry_after(Response(text="retry after " * 3_000_000 + "45 seconds")) is None


def filled(unit: str) -> str:
    return (unit * (65_536 // len(unit) + 1))[:65_536]


class TestEffort:
    """64 KiB of anything are read in about 10 ms at most. The bound is for processors a hundred times slower."""

    @pytest.mark.parametrize(
        "body",
        [
            filled("["),
            filled('{"a":'),
            "[" * 900 + '"a",' * 15_000 + '"a"' + "]" * 900,
            '{"a":' * 900 + "[" + '"retry in 5 seconds",' * 2800 + "1]" + "}" * 900,
            "[" + '"",' * 21_000 + '""]',
            "[" + "1.7976931348623157e308," * 2800 + "1]",
            "9" * 65_536,
            "0." + "9" * 65_000,
            '"' + "\\" * 65_000,
            "retry" + " " * 65_000,
            "retry" + filled(" again"),
            filled("retry   "),
            filled("retry in "),
            filled("retry in less than "),
            filled("retry in 5 seconds "),
            filled("retry in 1 s (1/1 requests "),
            "retry in " + "9" * 65_000,
            filled("rate limit for repository commits ("),
            "rate limit for repository commits (" + "1," * 30_000,
            filled("rate limit for repository commits (1 per "),
            filled("quota of 1,1,1,1 "),
            filled("hourly quotas for action:"),
            filled("maximum time in concurrency queue "),
            filled("\u0130"),
            filled("\u2028"),
            filled("\0"),
        ],
        ids=lambda body: ascii(body[:30]),
    )
    def test_of_a_body(self, body):
        self.assert_quick(SimpleNamespace(headers={}, content=body.encode(), text=body))

    @pytest.mark.parametrize(
        "value", ["Sat, " * 13_000, "1," * 30_000, "9" * 65_000, ";r=0;t=1" * 8_000], ids=lambda v: v[:9]
    )
    def test_of_a_header(self, value):
        self.assert_quick(Response({"Retry-After": value, "RateLimit": value, "Date": value, "X-Error-Message": value}))

    def assert_quick(self, response: object) -> None:
        began = process_time()  # the time of this process: other programs do not count
        read_refusal(response)
        assert process_time() - began < 1.0
