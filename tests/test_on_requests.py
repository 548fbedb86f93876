"""huggingface_hub 0.3x, which uses `requests`: with the `responses` library, and with a session of the user's own."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from tests.clients import factory_set_to
from tests.refusals import commit_quota, in_the_wild

pytestmark = pytest.mark.skipif(
    not type(get_session()).__module__.startswith("requests"), reason="this generation does not use `requests`"
)

HUB = "https://huggingface.co/api/datasets/you/textures"


@pytest.fixture
def hub():
    responses = pytest.importorskip("responses")
    with responses.RequestsMock(assert_all_requests_are_fired=False) as hub:
        files = [{"path": "a.txt", "uploadMode": "regular", "shouldIgnore": False}]
        hub.post(f"{HUB}/preupload/main", json={"files": files})
        yield hub


def refuse(hub, record: dict) -> None:
    hub.post(f"{HUB}/commit/main", status=record["status"], headers=record["headers"], body=record["body"])


def accept(hub) -> None:
    oid = "0" * 40
    url = f"https://huggingface.co/datasets/you/textures/commit/{oid}"
    hub.post(f"{HUB}/commit/main", json={"success": True, "commitOid": oid, "commitUrl": url})


def commit(api: ThrottledHfApi):
    operations = (CommitOperationAdd(name, b"a") for name in ["a.txt"])
    return api.create_commit("you/textures", operations, repo_type="dataset", commit_message="Add")


def posts(hub) -> list[bytes]:
    return [call.request.body for call in hub.calls if "/commit/" in call.request.url]


@pytest.mark.parametrize("record", in_the_wild(), ids=lambda record: record["name"])
def test_every_recorded_refusal_is_waited_out_and_the_same_commit_lands(hub, time, events, record):
    refuse(hub, record)
    accept(hub)
    info = commit(ThrottledHfApi(token="hf_x", hooks=[events.append]))
    assert info.oid == "0" * 40
    refused, landed = posts(hub)
    assert refused == landed
    assert json.loads(landed.splitlines()[1])["value"]["path"] == "a.txt"
    (wait,) = time.waits
    assert record["expect"]["wait_s"][0] <= wait <= record["expect"]["wait_s"][1]
    assert events[0].hint == record["expect"]["source"] or record["expect"]["source"] is None


def test_the_sixth_refusal_is_raised(hub, time):
    refusal = commit_quota("1 minute")
    for _ in range(6):
        hub.post(f"{HUB}/commit/main", status=429, headers=refusal.headers, body=refusal.text)
    with pytest.raises(HfHubHTTPError, match="rate limit for repository commits") as caught:
        commit(ThrottledHfApi(token="hf_x", retry=RetryPolicy(jitter=0), hooks=[]))
    assert caught.value.response.status_code == 429
    assert len(posts(hub)) == 6
    assert time.waits == [90] * 5


def test_a_refusal_that_urllib3_retries_and_discards_is_waited_out(local_hub, time, events):
    """The usual recipe for retries: a session whose `Retry` answers 429 with a `RetryError` that has no response."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    def session() -> requests.Session:
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=Retry(total=1, status_forcelist=[429], allowed_methods=None)))
        return session

    with factory_set_to(session):
        api = ThrottledHfApi(endpoint=local_hub.url, token="hf_x", retry=RetryPolicy(jitter=0), hooks=[events.append])
        api.create_repo("you/textures", repo_type="dataset")
        local_hub.answer(429, body=commit_quota("1 minute").text, on="commit", times=2)
        commit(api)
    assert time.waits == [30]
    assert [(type(event.error), event.hint) for event in events] == [(requests.exceptions.RetryError, "backoff")]
    assert [request.status for request in local_hub.requests if request.endpoint == "commit"] == [429, 429, 200]
