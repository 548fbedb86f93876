"""Every recorded answer of the Hub (`data/hub_*.jsonl`): what becomes of the call that meets it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import GaveUpEvent, RetryPolicy, ThrottledHfApi, ThrottleEvent, gave_up
from tests.refusals import in_the_wild, other_refusals

REPO = "you/textures"
LARGE = bytes(range(256)) * 100
CALLS: dict[str, Callable[..., Any]] = {
    "commit": lambda api, **options: api.create_commit(
        REPO, [CommitOperationAdd("new.txt", b"new")], commit_message="Add", **options
    ),
    "info": lambda api: api.repo_info(REPO),
    "create-repo": lambda api, **options: api.create_repo(REPO if options else "you/others", **options),
    "resolve": lambda api: Path(api.hf_hub_download(REPO, "old.txt", force_download=True)).read_bytes(),
    "xet-token": lambda api: api.create_commit(REPO, [CommitOperationAdd("new.bin", LARGE)], commit_message="Add"),
}


class Met:
    """A record, and the call that meets it."""

    def __init__(self, hub: Any, time: Any, record: dict[str, Any]) -> None:
        self.hub = hub
        self.time = time
        self.record = record
        self.events: list[Any] = []
        self.plain = HfApi(endpoint=hub.url, token="hf_other")
        self.plain.create_repo(REPO)
        content = [CommitOperationAdd("old.txt", b"old")]
        self.head = self.plain.create_commit(REPO, content, commit_message="Begin").oid
        time.advance(1)  # the Hub dates commits by the second
        retry = RetryPolicy(recover=record.get("recover", False))
        self.api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=retry, hooks=[self.events.append])

    def answer(self, times: int = 1, **options: Any) -> None:
        """The Hub answers so from now on, `times` times."""
        record = self.record
        self.hub.answer(
            record["status"],
            headers=record["headers"],
            body=record["body"],
            on=record.get("on", "commit"),
            times=times,
            **options,
        )

    def call(self) -> Any:
        options = dict(self.record.get("call", {}))
        if "parent_commit" in options:
            options["parent_commit"] = self.head
        return CALLS[self.record.get("on", "commit")](self.api, **options)

    @property
    def waits(self) -> list[float]:
        return [event.wait_s for event in self.events if isinstance(event, ThrottleEvent)]

    def sent(self, endpoint: str) -> int:
        return sum(request.endpoint == endpoint for request in self.hub.requests)

    def landed(self, path: str = "new.txt") -> int:
        return sum(path in commit.paths for commit in self.hub.commits)

    def assert_waited_once(self) -> None:
        lowest, highest = self.record["expect"]["wait_s"]
        assert len(self.waits) == 1
        assert lowest <= self.waits[0] <= highest

    def assert_raised_at_once(self) -> HfHubHTTPError:
        with pytest.raises(HfHubHTTPError) as caught:
            self.call()
        assert caught.value.response.status_code == self.record["status"]
        assert (self.waits, self.time.waits) == ([], [])
        return caught.value


def waited_out(met: Met) -> None:
    """One wait, and then what the call asked for."""
    met.answer()
    result = met.call()
    met.assert_waited_once()
    limiter = {"lock": "lock", "queue": "queue", "quota": "commits"}.get(met.record["expect"]["what"])
    assert limiter is None or met.events[0].limiter == limiter
    if met.record["on"] == "resolve":
        assert result == b"old"
    if met.record["on"] == "commit":
        assert met.landed() == 1


def lock(met: Met) -> None:
    met.answer(times=10)  # more than max_retries
    met.call()
    assert [event.reason for event in met.events] == [409] * 10
    lowest, highest = met.record["expect"]["wait_s"]
    assert all(lowest <= wait <= highest for wait in met.waits)
    assert met.landed() == 1


def raised_at_once(met: Met) -> None:
    met.answer()
    error = met.assert_raised_at_once()
    assert gave_up(error) is None
    assert met.events == []
    assert met.landed() == 0


def bucket(met: Met) -> None:
    waited_out(met)
    assert met.events[0].limiter == ("resolvers" if met.record["on"] == "resolve" else "api")


def existing_repository(met: Met) -> None:
    met.answer()
    url = met.call()
    assert (url.repo_id, url.endpoint) == (REPO, met.hub.url)
    assert (met.events, met.time.waits) == ([], [])


def new_repository(met: Met) -> None:
    met.answer()
    error = met.assert_raised_at_once()
    record = gave_up(error)
    assert record is not None
    assert 23 * 3600 < record.retry_in_s < 48 * 3600
    assert [type(event) for event in met.events] == [GaveUpEvent]
    CALLS["commit"](met.api)
    assert met.time.waits == []


def window_without_a_wait(met: Met) -> None:
    met.answer(times=5)
    met.call()
    lowest, highest = met.record["expect"]["wait_s"]
    assert lowest <= met.waits[0] <= highest
    assert sum(met.waits) >= 3600
    assert met.landed() == 1


def quota_of_pull_requests(met: Met) -> None:
    met.answer()
    refused = ThrottledHfApi(endpoint=met.hub.url, token="hf_x", retry=RetryPolicy(max_retries=0), hooks=[])
    with pytest.raises(HfHubHTTPError):
        CALLS["commit"](refused, **met.record["call"])
    met.api.create_commit(REPO, [CommitOperationAdd("plain.txt", b"")], commit_message="Add")
    assert met.time.waits == []  # a plain commit is not held up
    met.answer()
    assert met.call().pr_num
    met.assert_waited_once()


def busy(met: Met) -> None:
    met.answer()
    met.call()
    met.assert_waited_once()
    assert met.events[0].reason == 503
    assert met.landed() == 1
    assert met.sent("history") + met.sent("refs") + met.sent("tree") + met.sent("paths-info") > 0  # it looked


def outage(met: Met) -> None:
    def end_after_two_minutes(event: Any) -> None:
        if met.time.now() - began + event.wait_s >= 120:
            met.hub.clear()

    began = met.time.now()
    met.api.hooks = type(met.api.hooks)([met.events.append, end_after_two_minutes])
    for endpoint in set(met.hub.endpoints) - {"preupload"}:
        met.hub.answer(503, headers=met.record["headers"], body="busy", on=endpoint, times=10**6)
    met.hub.answer(503, body="busy", on="preupload", after=1, times=10**6)  # it begins with the commit
    met.call()
    lowest, highest = met.record["expect"]["wait_s"]
    assert lowest <= met.time.now() - began <= highest
    assert met.landed() == 1
    assert {event.reason for event in met.events if isinstance(event, ThrottleEvent)} == {503}
    assert sum(request.status == 503 for request in met.hub.requests) <= 40


def lost_race(met: Met) -> None:
    met.answer()
    met.call()
    met.assert_waited_once()
    assert met.events[0].reason == 412
    assert met.landed() == 1


def gateway(met: Met, lands_in: float = 3.0) -> None:
    met.answer(lands_in=lands_in)
    met.call()
    assert met.landed() == 1


def xet(met: Met) -> None:
    large = {"oid": hashlib.sha256(LARGE).hexdigest(), "size": len(LARGE)}
    met.hub.answer(200, body={"transfer": "xet", "objects": [large]}, on="lfs-batch")  # huggingface_hub 0.3x asks first
    met.answer()
    met.call()
    met.assert_waited_once()
    assert met.events[0].limiter == "api"
    assert met.landed("new.bin") == 1


# What each record asks for under `expect.must`.
MUST: dict[str, Callable[[Met], None]] = {
    "commit-lock": lock,
    "another-409": raised_at_once,
    "git-queue-full": waited_out,
    "compare-and-swap-lost": raised_at_once,
    "race-without-parent": raised_at_once,
    "race-without-parent-recover": lost_race,
    "api-bucket-info": bucket,
    "api-bucket-create-repo": bucket,
    "resolvers-bucket-download": bucket,
    "creation-quota-existing": existing_repository,
    "creation-quota-new": new_repository,
    "hour-named-no-wait": window_without_a_wait,
    "quota-of-pull-requests": quota_of_pull_requests,
    "busy-503": busy,
    "outage-of-two-minutes": outage,
    "gateway-lands-late": gateway,
    "xet-token-refused": xet,
}


@pytest.mark.filterwarnings("ignore:hf_xet.upload_bytes:DeprecationWarning")  # of huggingface_hub 0.3x
@pytest.mark.parametrize("record", other_refusals(), ids=lambda record: record["name"])
def test_what_must_happen_happens(local_hub, time, monkeypatch, tmp_path, record):
    monkeypatch.setattr("time.sleep", time.advance)  # huggingface_hub retries some requests itself
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    MUST[record["name"]](Met(local_hub, time, record))


@pytest.mark.parametrize("lands_in", [0.5, 30.0])
def test_a_commit_that_lands_after_its_504_is_the_only_one(local_hub, time, lands_in):
    (record,) = [record for record in other_refusals() if record["name"] == "gateway-lands-late"]
    gateway(Met(local_hub, time, record), lands_in)


@pytest.mark.local_hub(api_limit=None)  # it would add its own RateLimit header
@pytest.mark.parametrize("record", in_the_wild(), ids=lambda record: record["name"])
def test_every_recorded_429_is_waited_out_and_the_same_commit_lands(local_hub, time, record):
    met = Met(local_hub, time, record)
    met.answer()
    met.call()
    met.assert_waited_once()
    assert met.events[0].hint == record["expect"]["source"] or record["expect"]["source"] is None
    assert met.landed() == 1


def test_no_record_is_left_out():
    data = (Path(__file__).parent / "data" / "hub_refusals.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["name"] for line in data] == list(MUST)
