"""What the caller of `create_commit` learns about the commit's request."""

from __future__ import annotations

import pytest

from mat_vis_hub import ThrottledHfApi
from mat_vis_hub._internal.observer import Observer, current, observed

REPO = "you/textures"


@pytest.fixture
def api(local_hub, time):
    api = ThrottledHfApi(local_hub.url, "hf_x", hooks=[])
    api.create_repo(REPO)
    return api


def upload(api: ThrottledHfApi, content: bytes = b"x") -> None:
    api.upload_file(path_or_fileobj=content, path_in_repo="a.txt", repo_id=REPO)


def test_the_seconds_of_the_request_without_the_waits_before_it(api, local_hub):
    local_hub.answer(429, headers={"Retry-After": "600"}, on="commit")
    with observed(Observer()) as observer:
        upload(api)
    assert observer.seconds == pytest.approx(1.05)
    assert current() is None


def test_a_commit_that_changes_nothing_sends_no_request(api):
    upload(api)
    with observed(Observer()) as observer:
        upload(api)
    assert observer.seconds is None


def test_it_is_asked_before_a_commit_is_sent_again(api, local_hub):
    asked = []
    local_hub.answer(429, headers={"Retry-After": "1"}, on="commit", times=2)
    with observed(Observer(lambda: asked.append(len(local_hub.commits)))):
        upload(api)
    assert asked == [0, 0]


def test_what_it_raises_ends_the_commit(api, local_hub):
    class Landed(Exception):
        pass

    def raise_landed() -> None:
        raise Landed

    local_hub.answer(429, headers={"Retry-After": "1"}, on="commit")
    with observed(Observer(raise_landed)), pytest.raises(Landed):
        upload(api)
    assert local_hub.commits == []
