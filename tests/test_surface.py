"""A 429 on the way to a commit reaches the loop at once, and nobody else's requests change."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

import mat_vis_hub
from mat_vis_hub import surface
from mat_vis_hub.surface import refusals_surface

REPO = "you/model"
HAS_HOOKS = hasattr(get_session(), "event_hooks")


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """How long huggingface_hub slept, without the sleeping."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


@pytest.fixture
def api(local_hub) -> HfApi:
    api = HfApi(endpoint=local_hub.url, token="hf_x")
    api.create_repo(REPO)
    return api


def preupload(api: HfApi) -> None:
    from huggingface_hub import CommitOperationAdd

    api.preupload_lfs_files(REPO, [CommitOperationAdd("a.txt", b"a")])


def test_inside_a_refusal_is_raised_as_soon_as_it_arrives(api, local_hub, slept):
    local_hub.answer(429, headers={"Retry-After": "30"}, body={"error": "slow down"}, on="preupload")
    with refusals_surface(), pytest.raises(HfHubHTTPError, match="slow down") as caught:
        preupload(api)
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "30"
    assert "slow down" in caught.value.response.text
    assert slept == []


@pytest.mark.skipif(not HAS_HOOKS, reason="this generation raises a 429 by itself")
def test_outside_huggingface_hub_s_own_backoff_stays_what_it_is(api, local_hub, slept):
    with refusals_surface():
        preupload(api)
    local_hub.answer(429, headers={"Retry-After": "30"}, on="preupload")
    preupload(api)
    assert slept == [31.0]


def test_inside_other_errors_are_none_of_its_business(api, local_hub, slept):
    local_hub.answer(403, on="preupload")
    with refusals_surface(), pytest.raises(HfHubHTTPError) as caught:
        preupload(api)
    assert caught.value.response.status_code == 403


@pytest.mark.skipif(not HAS_HOOKS, reason="this generation needs no hook")
def test_the_client_gets_one_hook_however_often_and_a_new_client_gets_it_too():
    from huggingface_hub import close_session

    for _ in range(2):
        for _ in range(3):
            with refusals_surface():
                pass
        assert get_session().event_hooks["response"].count(surface._raise_refusal) == 1
        close_session()


def test_a_client_of_another_make_is_left_alone():
    client = SimpleNamespace(event_hooks="mine")
    surface._install(client)
    assert client.event_hooks == "mine"


def test_the_package_imports_no_transport():
    package = Path(mat_vis_hub.__file__).parent
    imports = re.compile(r"^\s*(?:import|from)\s+(requests|httpx2?|urllib3|aiohttp)\b", re.MULTILINE)
    for path in package.rglob("*.py"):
        assert not imports.search(path.read_text(encoding="utf-8")), path
