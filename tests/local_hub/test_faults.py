"""Faults on demand."""

import asyncio
import http.client
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub.utils import HfHubHTTPError

from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.testing import virtual_time
from tests.local_hub.conftest import CLOCK, ndjson

COMMIT = "/api/datasets/you/scratch/commit/main"


def test_the_next_requests_to_an_endpoint_get_a_given_answer(local_hub, commit):
    local_hub.answer(429, headers={"Retry-After": "30"}, body={"error": "Too Many Requests"}, on="commit", times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError, match="Too Many Requests") as caught:
            commit(Add("a", b"x"))
        assert caught.value.response.headers["Retry-After"] == "30"
    commit(Add("a", b"x"))
    assert [seen.kind for seen in local_hub.refusals] == ["scripted", "scripted"]
    assert len(local_hub.commits) == 1


def test_a_fault_can_skip_requests_first(local_hub, ask):
    local_hub.answer(503, on="whoami", after=2)
    assert [ask("GET", "/api/whoami-v2").status for _ in range(4)] == [200, 200, 503, 200]


def test_faults_apply_in_order_and_only_to_their_endpoint(local_hub, ask):
    local_hub.answer(500, on="whoami")
    local_hub.answer(502)
    local_hub.answer(503, on="list-repos")
    assert ask("GET", "/api/models").status == 502
    assert ask("GET", "/api/models").status == 503
    assert ask("GET", "/api/whoami-v2").status == 500
    assert ask("GET", "/api/whoami-v2").status == 200


@pytest.mark.parametrize(
    ("body", "sent", "media_type"),
    [
        ({"error": "é"}, b'{"error": "\\u00e9"}', "application/json"),
        ('{"error": "x"}', b'{"error": "x"}', "application/json"),
        ("<html>é", "<html>é".encode(), "text/plain; charset=utf-8"),
        (b"\0", b"\0", "application/octet-stream"),
        ("", b"", "text/plain; charset=utf-8"),
    ],
)
def test_a_body_can_be_text_bytes_or_json(local_hub, ask, body, sent, media_type):
    local_hub.answer(418, body=body)
    answer = ask("GET", "/api/whoami-v2")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (418, sent, media_type)


def test_given_headers_replace_those_of_the_hub(local_hub, ask):
    local_hub.answer(429, headers={"RateLimit": '"api";r=0;t=55', "Content-Type": "text/html"})
    answer = ask("GET", "/api/whoami-v2")
    assert answer.headers.get_all("RateLimit") == ['"api";r=0;t=55']
    assert answer.headers.get_all("Content-Type") == ["text/html"]
    assert answer.headers["RateLimit-Policy"]


@pytest.mark.parametrize("applied", [False, True])
def test_a_dropped_connection_is_a_transport_error_before_or_after_the_commit(local_hub, commit, ask, applied):
    local_hub.drop(on="commit", applied=applied)
    with pytest.raises(Exception, match=r"(?i)disconnected|aborted|reset") as caught:
        commit(Add("a", b"x"))
    assert not isinstance(caught.value, HfHubHTTPError)
    assert len(local_hub.commits) == applied
    assert ask("HEAD", "/datasets/you/scratch/resolve/main/a").status == (200 if applied else 404)
    assert [seen.status for seen in local_hub.requests if seen.endpoint == "commit"] == [None]


def test_a_dropped_connection_is_reset(local_hub, repo, ask):
    local_hub.drop(on="commit")
    with pytest.raises(ConnectionError):
        ask("POST", COMMIT, ndjson())


@pytest.mark.local_hub(clock=CLOCK.now)
def test_a_delay_takes_real_time_even_if_the_hubs_clock_stands_still(local_hub, ask):
    local_hub.delay(0.05, on="whoami")
    start = time.monotonic()
    assert ask("GET", "/api/whoami-v2").status == 200
    assert time.monotonic() - start >= 0.05


def test_virtual_time_does_not_shorten_a_delay():
    with virtual_time() as virtual, LocalHub() as hub:
        hub.delay(0.05)
        start = time.monotonic()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(hub.url)
        assert time.monotonic() - start >= 0.05
        assert virtual.now() == 0


def test_a_request_can_be_carried_out_at_once_and_answered_late(local_hub, repo, ask, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append((seconds, len(local_hub.commits)))

    patched = SimpleNamespace(sleep=sleep, CancelledError=asyncio.CancelledError)
    monkeypatch.setattr("mat_vis_hub.local_hub.web.middleware.asyncio", patched)
    local_hub.delay(30, on="commit", answer=True, times=2)
    answers = [ask("POST", COMMIT, ndjson()), ask("POST", COMMIT, ndjson(parentCommit="0" * 40))]
    assert [answer.status for answer in answers] == [200, 412]
    assert slept == [(30, 1), (30, 1)]


@pytest.mark.parametrize("applied", [True, False])
def test_an_answer_can_stop_half_way_through_its_body(local_hub, repo, ask, applied):
    local_hub.truncate(on="commit", applied=applied)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask("POST", COMMIT, ndjson())
    assert b'{"success": true'.startswith(caught.value.partial[:9])
    assert caught.value.expected > 0
    assert len(local_hub.commits) == applied
    assert [seen.status for seen in local_hub.requests if seen.endpoint == "commit"] == [200]


def test_an_empty_answer_can_be_cut_off_too(local_hub, ask):
    local_hub.truncate(on="list-repos")
    with pytest.raises(http.client.IncompleteRead):
        ask("GET", "/api/models")


def test_to_land_late_and_at_once_exclude_each_other(local_hub):
    with pytest.raises(ValueError, match="applied and lands_in exclude each other"):
        local_hub.drop(applied=True, lands_in=1)
    with pytest.raises(ValueError, match="lands_in is -1; it is a number of seconds, 0 or more"):
        local_hub.answer(504, lands_in=-1)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_delay_that_makes_no_sense_is_refused(local_hub, seconds):
    with pytest.raises(ValueError, match=rf"delay is {seconds}; it is a number of seconds, 0 or more"):
        local_hub.delay(seconds)


def test_pending_faults_can_be_cleared(local_hub, ask):
    local_hub.answer(500, times=100)
    local_hub.clear()
    assert ask("GET", "/api/whoami-v2").status == 200


@pytest.mark.parametrize("add", [lambda hub, on: hub.answer(500, on=on), lambda hub, on: hub.drop(on=on)])
def test_the_error_for_an_unknown_endpoint_lists_the_known_ones(local_hub, add):
    with pytest.raises(ValueError, match=r"no endpoint 'comit'; there are .*commit.*resolve"):
        add(local_hub, "comit")


def test_a_fault_must_apply_to_a_request(local_hub):
    with pytest.raises(ValueError, match="times is 0; a fault applies to at least one request"):
        local_hub.answer(500, times=0)
    with pytest.raises(ValueError, match="after is -1; it is a number of requests, 0 or more"):
        local_hub.drop(after=-1)


def test_a_fault_needs_a_running_hub():
    with pytest.raises(RuntimeError, match="start it"):
        LocalHub().answer(500)
