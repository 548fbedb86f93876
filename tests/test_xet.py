"""A refusal that hf_xet meets, whose requests do not pass through the wrapped client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from mat_vis_hub import RetryPolicy, ThrottledHfApi, ThrottleEvent, buckets
from mat_vis_hub.buckets import Account

REPO = "you/model"


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").upload_file(
        path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=made(local_hub)
    )
    return local_hub


def made(hub) -> str:
    return str(HfApi(endpoint=hub.url, token="hf_x").create_repo(REPO).repo_id)


@pytest.fixture
def api(hub, events) -> ThrottledHfApi:
    return ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(jitter=0), hooks=[events.append])


def refused(hub) -> ConnectionError:
    """What hf_xet raises when it has been refused a token."""
    url = f"{hub.url}/api/models/{REPO}/xet-read-token/main"
    return ConnectionError(
        f"Rate limited: Request error: HTTP status client error (429 Too Many Requests), domain: {url}"
    )


def once(monkeypatch, name: str, error: Exception) -> None:
    """`HfApi`'s method of this name raises `error` when it is called first."""
    plain: Any = getattr(HfApi, name)
    errors = [error]

    def method(self, *args, **kwargs):
        if errors:
            raise errors.pop()
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, name, method)


class TestDownloads:
    def test_a_file_is_downloaded_after_the_wait(self, api, hub, time, events, monkeypatch, tmp_path):
        once(monkeypatch, "hf_hub_download", refused(hub))
        path = api.hf_hub_download(repo_id=REPO, filename="a.txt", cache_dir=tmp_path)
        assert Path(path).read_bytes() == b"a"
        assert time.waits == [30]
        assert [(type(event), event.limiter, event.repo_id) for event in events] == [(ThrottleEvent, "api", REPO)]

    def test_a_snapshot_is_downloaded_after_the_wait(self, api, hub, time, monkeypatch, tmp_path):
        plain: Any = ThrottledHfApi._download
        errors: list[Exception] = [refused(hub)]

        def download(self, method, *args, **kwargs):
            def first_refused(*args, **kwargs):
                if errors:
                    raise errors.pop()
                return method(*args, **kwargs)

            return plain(self, first_refused, *args, **kwargs)

        monkeypatch.setattr(ThrottledHfApi, "_download", download)
        folder = api.snapshot_download(REPO, cache_dir=tmp_path, allow_patterns="a.txt")
        assert (Path(folder) / "a.txt").read_bytes() == b"a"
        assert time.waits == [30]

    def test_what_the_hub_has_said_about_the_bucket_is_waited_for(self, api, hub, time, events, monkeypatch, tmp_path):
        buckets.current.value.read('"api";r=0;t=200', Account(hub.url, hash("Bearer hf_x")), 0)
        once(monkeypatch, "hf_hub_download", refused(hub))
        api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path)
        assert time.waits == [200]
        assert [event.hint for event in events] == ["ratelimit"]

    @pytest.mark.parametrize("error", [ConnectionError("Connection reset by peer"), RuntimeError("broken")], ids=repr)
    def test_any_other_error_is_raised_at_once(self, api, hub, time, monkeypatch, tmp_path, error):
        once(monkeypatch, "hf_hub_download", error)
        with pytest.raises(type(error)) as caught:
            api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path)
        assert caught.value is error
        assert time.waits == []

    def test_it_gives_up_when_the_policy_does(self, api, hub, time, monkeypatch, tmp_path):
        monkeypatch.setattr(HfApi, "hf_hub_download", raises(refused(hub)))
        with pytest.raises(ConnectionError, match="429"):
            api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path)
        assert time.waits == pytest.approx([30, 60, 120, 120, 120])


def raises(error: Exception):
    def method(self, *args, **kwargs):
        raise error

    return method


UPLOADS = {
    "create_commit": lambda api, path: api.create_commit(
        REPO, [CommitOperationAdd("a.bin", path)], commit_message="Add"
    ),
    "preupload_lfs_files": lambda api, path: api.preupload_lfs_files(REPO, [CommitOperationAdd("a.bin", path)]),
    "upload_file": lambda api, path: api.upload_file(path_or_fileobj=path, path_in_repo="a.bin", repo_id=REPO),
    "upload_folder": lambda api, path: api.upload_folder(folder_path=Path(path).parent, repo_id=REPO),
}


@pytest.mark.parametrize("upload", UPLOADS)
def test_an_upload_goes_on_after_the_wait(api, hub, time, events, tmp_path, upload):
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(20_000))
    hub.answer(429, headers={"RateLimit": '"api";r=0;t=40'}, on="xet-token", times=2)
    UPLOADS[upload](api, str(path))
    if not any(request.endpoint == "xet-token" for request in hub.requests):
        pytest.skip("this generation uploads to the local Hub without Xet")
    assert {(type(event), event.limiter) for event in events} == {(ThrottleEvent, "api")}
    assert len(time.waits) == 2
    assert min(time.waits) >= 30
    if upload != "preupload_lfs_files":
        assert [commit.paths for commit in hub.commits[1:]] == [("a.bin",)]
