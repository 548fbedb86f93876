"""The methods of `HfApi` whose requests do not carry the headers of their object."""

from __future__ import annotations

import inspect
import re

import pytest
from huggingface_hub import HfApi

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub._hub.headers import without_headers

SENDS = re.compile(r"\b(get_session\(\)|http_backoff\(|http_stream_backoff\(|paginate\(|get_hf_file_metadata\()")


def test_every_method_that_sends_without_them_is_known():
    found = set()
    for name, method in vars(HfApi).items():
        if not name.startswith("_") and inspect.isfunction(method):
            code = inspect.getsource(inspect.unwrap(method)).rpartition('"""')[2]
            if SENDS.search(code) and "_build_hf_headers(" not in code and "self.headers" not in code:
                found.add(name)
    assert found == set(without_headers())


def test_their_refusals_are_waited_out(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").upload_file(
        path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=local_hub_repo(local_hub)
    )
    api = ThrottledHfApi(endpoint=local_hub.url, token="hf_x", retry=RetryPolicy(jitter=0), hooks=[])
    local_hub.answer(429, headers={"RateLimit": '"resolvers";r=0;t=9'}, on="resolve")
    assert api.file_exists("you/model", "a.txt")
    local_hub.answer(429, headers={"RateLimit": '"resolvers";r=0;t=9'}, on="resolve")
    assert api.get_hf_file_metadata(url=f"{local_hub.url}/you/model/resolve/main/a.txt").size == 1
    assert time.waits == [9, 9]


def test_a_plain_object_is_not_throttled_afterwards(local_hub, time):
    repo_id = local_hub_repo(local_hub)
    api = ThrottledHfApi(endpoint=local_hub.url, token="hf_x", retry=RetryPolicy(jitter=0), hooks=[])
    assert not api.file_exists(repo_id, "a.txt")
    local_hub.answer(429, headers={"Retry-After": "9"}, on="info")
    with pytest.raises(Exception, match="429"):
        HfApi(endpoint=local_hub.url, token="hf_x").repo_info(repo_id)
    assert time.waits == []


def local_hub_repo(hub) -> str:
    return str(HfApi(endpoint=hub.url, token="hf_x").create_repo("you/model").repo_id)


@pytest.mark.parametrize("name", without_headers())
def test_their_signatures_are_those_of_hfapi(name):
    assert inspect.signature(getattr(ThrottledHfApi, name)) == inspect.signature(getattr(HfApi, name))
