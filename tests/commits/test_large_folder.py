"""upload_large_folder: its workers try again at once what has failed."""

from __future__ import annotations

import time as real_time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub.commits.large_folder import never_ends, unbounded

pytestmark = [
    pytest.mark.skipif(not hasattr(HfApi, "upload_large_folder"), reason="this generation has no upload_large_folder"),
    pytest.mark.filterwarnings("ignore:(?s).*upload_large_folder:FutureWarning"),
]
_sleep = real_time.sleep


@pytest.mark.parametrize("endpoint", ["preupload", "commit"])
@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(max_retries=0)], ids=["default", "never waits"])
def test_a_wait_beyond_the_policy_does_not_become_a_loop(local_hub, time, monkeypatch, tmp_path, endpoint, policy):
    monkeypatch.setattr("time.sleep", lambda seconds: _sleep(min(seconds, 0.001)))
    folder = Path(tmp_path)
    for number in range(5):
        (folder / f"{number}.txt").write_text(str(number))
    api = ThrottledHfApi(endpoint=local_hub.url, token="hf_x", retry=policy, hooks=[])
    api.create_repo("you/model")
    local_hub.answer(429, headers={"Retry-After": "100000"}, on=endpoint, times=3)
    api.upload_large_folder(
        repo_id="you/model", folder_path=folder, repo_type="model", num_workers=2, print_report=False
    )
    assert len(local_hub.refusals) == 3
    assert sorted(path for commit in local_hub.commits for path in commit.paths) == [f"{n}.txt" for n in range(5)]
    if never_ends():
        assert sum(time.waits) >= 300_000


def test_the_generation_whose_workers_go_on_for_ever_is_recognised():
    assert never_ends() == huggingface_hub.__version__.startswith("0.")


def test_only_the_patience_of_a_policy_is_changed():
    policy = RetryPolicy(max_retries=3, backoff_floor=1, backoff_ceiling=2, jitter=0, max_total_wait=10)
    changed = unbounded(policy)
    assert changed.max_total_wait == float("inf")
    assert changed.max_retries > 100
    assert (changed.backoff_floor, changed.backoff_ceiling, changed.jitter) == (1, 2, 0)
