"""Answers on demand."""

import time

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub.utils import HfHubHTTPError

from mat_vis_hub.local_hub import LocalHub
from tests.local_hub.conftest import ndjson

COMMIT = "/api/datasets/you/scratch/commit/main"


def test_the_next_requests_to_an_endpoint_get_the_answer_one_orders(local_hub, commit):
    local_hub.answer(429, headers={"Retry-After": "30"}, body={"error": "Too Many Requests"}, on="commit", times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError, match="Too Many Requests") as caught:
            commit(Add("a", b"x"))
        assert caught.value.response.headers["Retry-After"] == "30"
    commit(Add("a", b"x"))
    assert [seen.kind for seen in local_hub.refusals] == ["scripted", "scripted"]
    assert len(local_hub.commits) == 1


def test_an_answer_can_wait_for_its_turn(local_hub, ask):
    local_hub.answer(503, on="whoami", after=2)
    assert [ask("GET", "/api/whoami-v2").status for _ in range(4)] == [200, 200, 503, 200]


def test_rules_are_played_in_order_and_only_where_they_belong(local_hub, ask):
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
def test_a_body_may_be_text_bytes_or_json(local_hub, ask, body, sent, media_type):
    local_hub.answer(418, body=body)
    answer = ask("GET", "/api/whoami-v2")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (418, sent, media_type)


def test_ones_own_headers_take_the_place_of_the_hubs(local_hub, ask):
    local_hub.answer(429, headers={"RateLimit": '"api";r=0;t=55', "Content-Type": "text/html"})
    answer = ask("GET", "/api/whoami-v2")
    assert answer.headers.get_all("RateLimit") == ['"api";r=0;t=55']
    assert answer.headers.get_all("Content-Type") == ["text/html"]
    assert answer.headers["RateLimit-Policy"]


@pytest.mark.parametrize("applied", [False, True])
def test_a_dropped_connection_is_a_transport_error_whether_the_work_is_done_or_not(local_hub, commit, ask, applied):
    local_hub.drop(on="commit", applied=applied)
    with pytest.raises(Exception, match=r"(?i)disconnected|aborted|reset") as caught:
        commit(Add("a", b"x"))
    assert not isinstance(caught.value, HfHubHTTPError)
    assert len(local_hub.commits) == applied
    assert ask("HEAD", "/datasets/you/scratch/resolve/main/a").status == (200 if applied else 404)
    assert [seen.status for seen in local_hub.requests if seen.endpoint == "commit"] == [None]


def test_a_dropped_connection_is_reset_not_closed(local_hub, repo, ask):
    local_hub.drop(on="commit")
    with pytest.raises(ConnectionError):
        ask("POST", COMMIT, ndjson())


def test_a_delay_takes_real_time(local_hub, ask):
    local_hub.delay(0.2, on="whoami")
    start = time.monotonic()
    assert ask("GET", "/api/whoami-v2").status == 200
    assert time.monotonic() - start >= 0.2


def test_what_is_not_used_up_can_be_forgotten(local_hub, ask):
    local_hub.answer(500, times=100)
    local_hub.clear()
    assert ask("GET", "/api/whoami-v2").status == 200


@pytest.mark.parametrize("order", [lambda hub, on: hub.answer(500, on=on), lambda hub, on: hub.drop(on=on)])
def test_an_unknown_endpoint_is_refused_with_the_known_ones(local_hub, order):
    with pytest.raises(ValueError, match=r"no endpoint 'comit'; there are .*commit.*resolve"):
        order(local_hub, "comit")


def test_a_rule_for_no_request_is_refused(local_hub):
    with pytest.raises(ValueError, match="times=0"):
        local_hub.answer(500, times=0)


def test_a_script_needs_a_hub_that_runs():
    with pytest.raises(RuntimeError, match="start it"):
        LocalHub().answer(500)
