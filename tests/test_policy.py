"""How long a policy waits: at least as long as the server said, and without a hint with exponential backoff."""

from __future__ import annotations

import math
import pickle

import pytest

from mat_vis_hub import RetryPolicy
from mat_vis_hub.retry_after import Refusal, RetryAfter, read_refusal
from tests.refusals import Response, as_response, commit_quota, in_the_wild

NO_HINT = Refusal(None)
MANY = range(500)


def waits(policy: RetryPolicy, refusal: Refusal, retry: int = 1) -> tuple[float, float]:
    """The shortest and the longest of many waits, which differ by jitter."""
    seconds = [policy.wait(refusal, retry)[0] for _ in MANY]
    return min(seconds), max(seconds)


@pytest.mark.parametrize("record", in_the_wild(), ids=lambda record: record["name"])
def test_the_first_wait_after_every_recorded_refusal(record):
    refusal = read_refusal(as_response(record))
    shortest, longest = waits(RetryPolicy(), refusal)
    assert record["expect"]["wait_s"][0] <= shortest
    assert longest <= record["expect"]["wait_s"][1]
    assert record["expect"]["source"] in (None, RetryPolicy().wait(refusal, 1)[1])


class TestBackoff:
    @pytest.mark.parametrize(("retry", "seconds"), [(1, 30), (2, 60), (3, 120), (4, 120), (1000, 120)])
    def test_the_wait_doubles_from_floor_to_ceiling(self, retry, seconds):
        assert RetryPolicy(jitter=0).wait(NO_HINT, retry) == (seconds, "backoff")

    def test_jitter_stays_within_floor_and_ceiling(self):
        shortest, longest = waits(RetryPolicy(), NO_HINT, retry=1)
        assert shortest == 30
        assert 30 < longest <= 33
        shortest, longest = waits(RetryPolicy(), NO_HINT, retry=2)
        assert 54 <= shortest < 60 < longest <= 66
        shortest, longest = waits(RetryPolicy(), NO_HINT, retry=3)
        assert 108 <= shortest < 120
        assert longest == 120

    def test_a_hint_about_another_quota_is_a_lower_bound(self):
        wait, hint = RetryPolicy(jitter=0).wait(Refusal(None, floor=271.0), 1)
        assert (wait, hint) == (271.0, "backoff")
        assert RetryPolicy(jitter=0).wait(Refusal(None, floor=10.0), 2) == (60.0, "backoff")


class TestLostAnswer:
    @pytest.mark.parametrize(("retry", "longest"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (1000, 60)])
    def test_the_wait_doubles_up_to_a_minute(self, retry, longest):
        shortest_seen, longest_seen = waits(RetryPolicy(), Refusal(None, lost=True), retry)
        assert longest / 2 <= shortest_seen < 0.6 * longest
        assert 0.9 * longest < longest_seen <= longest

    def test_a_wait_that_the_server_named_is_kept(self):
        assert RetryPolicy(jitter=0).wait(Refusal(RetryAfter(5, 5, "retry-after"), lost=True), 7) == (5, "retry-after")


class TestHint:
    def test_jitter_never_shortens_a_hint(self):
        shortest, longest = waits(RetryPolicy(), Refusal(RetryAfter(10.0, 10.0, "retry-after")))
        assert shortest >= 10
        assert 10.5 < longest <= 11

    def test_jitter_adds_at_most_four_seconds_to_a_long_hint(self):
        _, longest = waits(RetryPolicy(), Refusal(RetryAfter(3000.0, 3000.0, "retry-after")))
        assert 3001 < longest <= 3004

    def test_a_narrow_interval_is_waited_out_to_its_end(self):
        assert RetryPolicy(jitter=0).wait(read_refusal(commit_quota("16 minutes")), 1) == (16.5 * 60, "body")
        assert RetryPolicy(jitter=0).wait(read_refusal(commit_quota("less than a minute")), 1) == (30, "body")

    def test_a_wide_interval_is_waited_out_to_its_beginning(self):
        assert RetryPolicy(jitter=0).wait(read_refusal(commit_quota("about 1 hour")), 1) == (44.5 * 60, "body")

    def test_the_window_of_the_quota_bounds_an_interval(self):
        body = "You have exceeded the rate limit for repository commits (8 per 6 seconds). You can retry this action in"
        assert RetryPolicy(jitter=0).wait(read_refusal(Response(text=f"{body} less than a minute.")), 1) == (6, "body")
        assert RetryPolicy(jitter=0).wait(read_refusal(Response(text=f"{body} 5 minutes.")), 1) == (330, "body")

    def test_a_hint_may_exceed_the_ceiling_of_the_backoff(self):
        assert RetryPolicy(jitter=0).wait(Refusal(RetryAfter(900.0, 900.0, "ratelimit")), 1) == (900, "ratelimit")


class TestValues:
    def test_the_documented_defaults(self):
        assert RetryPolicy() == RetryPolicy(5, 30.0, 120.0, 0.10, 7200.0, False)

    def test_a_policy_is_frozen_hashable_and_can_be_pickled(self):
        policy = RetryPolicy(max_retries=3)
        with pytest.raises(AttributeError):
            policy.max_retries = 4
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert hash(policy) == hash(RetryPolicy(max_retries=3))

    @pytest.mark.parametrize(
        "arguments",
        [
            {"max_retries": -1},
            {"max_retries": 2.5},
            {"max_retries": True},
            {"max_retries": "5"},
            {"backoff_floor": -1},
            {"backoff_floor": math.nan},
            {"backoff_floor": math.inf, "backoff_ceiling": math.inf},
            {"backoff_floor": 200},
            {"backoff_ceiling": 10},
            {"jitter": -0.1},
            {"jitter": 1.5},
            {"max_total_wait": -1},
            {"max_total_wait": None},
            {"recover": "yes"},
        ],
        ids=str,
    )
    def test_an_invalid_value_raises_an_error_that_names_it(self, arguments):
        with pytest.raises(ValueError, match=r"RetryPolicy\((" + "|".join([*arguments, "backoff_ceiling"]) + ")="):
            RetryPolicy(**arguments)

    def test_the_waits_may_be_infinite(self):
        policy = RetryPolicy(jitter=0, max_total_wait=math.inf, backoff_ceiling=math.inf)
        assert policy.wait(NO_HINT, 20) == (30 * 2**19, "backoff")


class TestOnlyTheWindowIsKnown:
    """ "128 per hour", and no word about when it is over."""

    @pytest.mark.parametrize(
        "policy",
        [
            RetryPolicy(),
            RetryPolicy(jitter=0),
            RetryPolicy(max_retries=2),
            RetryPolicy(max_retries=1),
            RetryPolicy(max_retries=2000),
            RetryPolicy(backoff_floor=0, backoff_ceiling=0),
        ],
        ids=str,
    )
    def test_the_last_try_comes_after_the_window(self, policy):
        refusal = Refusal(None, limit=128, window=3600.0, limiter="commits")
        waits = [policy.wait(refusal, retry)[0] for retry in range(1, policy.max_retries + 1)]
        assert sum(waits) >= 3599.99

    def test_the_first_tries_come_soon(self):
        refusal = Refusal(None, limit=128, window=3600.0, limiter="commits")
        policy = RetryPolicy(jitter=0)
        waits = [policy.wait(refusal, retry)[0] for retry in range(1, 6)]
        assert waits == [pytest.approx(wait, abs=1) for wait in (30, 90, 269, 804, 2407)]


class TestContention:
    @pytest.mark.parametrize("limiter", ["lock", "queue"])
    def test_is_tried_again_within_seconds(self, limiter):
        refusal = Refusal(None, floor=271.0, limiter=limiter)
        for retry in range(1, 100):
            wait, hint = RetryPolicy().wait(refusal, retry)
            assert 0.5 <= wait <= min(8.0, 0.5 * 2**retry)
            assert hint == "backoff"

    def test_a_wait_that_the_server_names_is_kept(self):
        hint = RetryAfter(20.0, 20.0, "retry-after")
        assert RetryPolicy(jitter=0).wait(Refusal(hint, limiter="queue"), 1) == (20.0, "retry-after")
