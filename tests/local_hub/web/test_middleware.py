"""What all answers have in common."""

import email.utils
import re

import pytest
from huggingface_hub.utils import RepositoryNotFoundError

from tests.local_hub.conftest import CLOCK


@pytest.mark.parametrize(
    ("path", "bucket", "quota"),
    [
        ("/api/whoami-v2", "api", 1000),
        ("/api/models/you/none", "api", 1000),
        ("/nowhere", "pages", 200),
        ("/you/none/resolve/main/a", "resolvers", 5000),
    ],
)
def test_every_answer_has_the_hubs_headers(ask, path, bucket, quota):
    answer = ask("GET", path)
    assert email.utils.parsedate_to_datetime(answer.headers["Date"])
    assert answer.headers["X-Request-Id"].startswith("Root=1-")
    assert answer.headers["RateLimit"] == f'"{bucket}";r={quota - 1};t=300'
    assert answer.headers["RateLimit-Policy"] == f'"fixed window";"{bucket}";q={quota};w=300'


def test_storage_hosts_know_nothing_of_the_buckets(ask):
    assert ask("PUT", "/_lfs/none", b"").headers["RateLimit"] is None


@pytest.mark.local_hub(clock=CLOCK.now)
def test_the_date_is_that_of_the_hubs_clock(ask):
    for _ in range(2):
        CLOCK.advance(90)
        date = email.utils.parsedate_to_datetime(ask("GET", "/nowhere").headers["Date"])
        assert date.timestamp() == int(CLOCK.now())


def test_the_clients_id_follows_the_hubs(ask, api):
    for name in ("X-Request-Id", "X-Amzn-Trace-Id"):
        answer = ask("GET", "/nowhere", headers={name: "mine"})
        assert re.fullmatch("Root=1-[0-9a-f-]{36};mine", answer.headers["X-Request-Id"])
    with pytest.raises(RepositoryNotFoundError) as caught:
        api.repo_info("you/missing")
    sent = caught.value.response.request.headers["X-Amzn-Trace-Id"]
    assert f";{sent})" in str(caught.value)


def test_request_ids_differ(ask):
    assert ask("GET", "/nowhere").headers["X-Request-Id"] != ask("GET", "/nowhere").headers["X-Request-Id"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/jobs/you"), ("PATCH", "/api/whoami-v2"), ("GET", "/")])
def test_an_unknown_path_or_method_is_named(ask, method, path):
    answer = ask(method, path)
    assert answer.status in (404, 405)
    assert answer.json["error"] == f"This local Hub does not serve {method} {path}"


def test_errors_are_in_the_body_and_in_the_headers(ask):
    answer = ask("GET", "/api/models/you/none")
    assert answer.json == {"error": "Repository not found"}
    assert answer.headers["X-Error-Message"] == "Repository not found"
    assert answer.headers["X-Error-Code"] == "RepoNotFound"


def test_an_error_message_can_have_characters_that_headers_cannot(repo, ask):
    answer = ask("GET", "/api/datasets/you/scratch/revision/%E2%82%AC%0Ax")
    assert answer.json == {"error": "Invalid rev id: €\nx"}
    assert answer.headers["X-Error-Message"] == "Invalid rev id: ? x"
    assert ask("GET", "/api/datasets/you/scratch/revision/%00%7F").headers["X-Error-Message"] == "Invalid rev id:"


def test_a_bug_is_a_500_and_is_logged(local_hub, ask, caplog, monkeypatch):
    monkeypatch.setattr("mat_vis_hub.local_hub.web.access.Access.bearer", lambda *_: 1 / 0)
    assert ask("GET", "/api/whoami-v2").status == 500
    local_hub.stop()
    assert "ZeroDivisionError" in caplog.text
