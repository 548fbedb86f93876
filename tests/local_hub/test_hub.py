"""Starting and stopping, and the clock."""

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import HfApi

from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.testing import virtual_time


def test_by_default_it_listens_on_this_machine_only():
    with LocalHub() as hub:
        assert hub.url.startswith("http://127.0.0.1:")


def test_two_hubs_share_nothing():
    with LocalHub() as one, LocalHub() as two:
        assert one.url != two.url
        HfApi(endpoint=one.url, token="hf_local").create_repo("you/scratch")
        assert not HfApi(endpoint=two.url, token="hf_local").repo_exists("you/scratch")


def test_a_hub_can_be_started_again_and_is_empty_then():
    hub = LocalHub(limit=1)
    for _ in range(2):
        with hub:
            api = HfApi(endpoint=hub.url, token="hf_local")
            assert not api.repo_exists("you/scratch")
            api.create_repo("you/scratch")
            assert [seen.status for seen in hub.requests] == [404, 200]


def test_a_running_hub_cannot_be_started():
    with LocalHub() as hub, pytest.raises(RuntimeError, match=f"already running, at {hub.url}"):
        hub.start()


@pytest.mark.parametrize("use", [lambda hub: hub.url, lambda hub: hub.commits, lambda hub: hub.spend("you/x")])
def test_the_error_of_a_stopped_hub_says_what_to_do(use):
    with pytest.raises(RuntimeError, match="start it, or use it as a context manager"):
        use(LocalHub())


def test_a_stopped_hub_keeps_its_records_but_takes_no_faults():
    with LocalHub() as hub:
        pass
    hub.stop()
    assert hub.requests == []
    with pytest.raises(RuntimeError, match="not running"):
        hub.answer(500)


def test_spend_refuses_an_unknown_repo_type():
    with LocalHub() as hub, pytest.raises(ValueError, match="repo_type is 'bucket'; it is one of 'model', 'dataset'"):
        hub.spend("you/x", repo_type="bucket")


def test_by_default_it_uses_the_packages_clock(monkeypatch):
    with virtual_time() as time, LocalHub(limit=1) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        api = HfApi(endpoint=hub.url, token="hf_local")
        api.create_repo("you/scratch")
        hub.spend("you/scratch")
        time.advance(3600)
        api.create_commit("you/scratch", [Add("a", b"x")], commit_message="a new hour")
        assert len(hub.commits) == 1


def test_a_clock_can_read_what_the_hub_has_seen():
    hub = LocalHub(clock=lambda: 1_800_000_000.0 + len(hub.commits))
    with hub:
        api = HfApi(endpoint=hub.url, token="hf_local")
        assert api.create_repo("you/scratch").repo_id == "you/scratch"
