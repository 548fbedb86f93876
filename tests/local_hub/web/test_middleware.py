"""What every answer has in common."""

import email.utils

import pytest


@pytest.mark.parametrize("path", ["/api/whoami-v2", "/api/models/you/none", "/nowhere", "/you/none/resolve/main/a"])
def test_every_answer_is_stamped(ask, path):
    answer = ask("GET", path)
    assert email.utils.parsedate_to_datetime(answer.headers["Date"])
    assert answer.headers["X-Request-Id"].startswith("Root=1-")
    assert answer.headers["RateLimit"].startswith('"api";r=')
    assert answer.headers["RateLimit-Policy"] == '"fixed window";"api";q=1000;w=300'


def test_request_ids_differ(ask):
    assert ask("GET", "/nowhere").headers["X-Request-Id"] != ask("GET", "/nowhere").headers["X-Request-Id"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/jobs/you"), ("PATCH", "/api/whoami-v2"), ("GET", "/")])
def test_what_is_not_served_is_said_so(ask, method, path):
    answer = ask(method, path)
    assert answer.status in (404, 405)
    assert answer.json["error"] == f"This local Hub does not serve {method} {path}"


def test_errors_come_in_the_body_and_in_the_headers(ask):
    answer = ask("GET", "/api/models/you/none")
    assert answer.json == {"error": "Repository not found"}
    assert answer.headers["X-Error-Message"] == "Repository not found"
    assert answer.headers["X-Error-Code"] == "RepoNotFound"


def test_an_error_message_may_have_letters_that_no_header_has(repo, ask):
    answer = ask("GET", "/api/datasets/you/scratch/revision/%E2%82%AC%0Ax")
    assert answer.json == {"error": "Invalid rev id: €\nx"}
    assert answer.headers["X-Error-Message"] == "Invalid rev id: ? x"


def test_a_bug_is_a_500_that_shows_up_in_the_log(local_hub, ask, caplog, monkeypatch):
    monkeypatch.setattr("mat_vis_hub.local_hub.web.context.Access.bearer", lambda *_: 1 / 0)
    assert ask("GET", "/api/whoami-v2").status == 500
    local_hub.stop()
    assert "ZeroDivisionError" in caplog.text
