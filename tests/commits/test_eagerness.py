"""How eager a batch is: promptly while there is room, few and large near the limit."""

from __future__ import annotations

import math

import pytest
from huggingface_hub import HfApi

from mat_vis_hub.commits.eagerness import Eagerness, due_share


class TestDueShare:
    def test_grows_from_a_tenth_to_one_at_half_the_limit(self):
        assert due_share(0, 128) == pytest.approx(0.1)
        assert due_share(64, 128) == due_share(128, 128) == due_share(1000, 128) == 1
        shares = [due_share(spent, 128) for spent in range(64)]
        assert shares == sorted(shares)

    @pytest.mark.parametrize("files_per_hour", [100, 1_000, 10_000, 40_000])
    def test_a_steady_run_does_not_use_up_the_window_in_its_first_minutes(self, files_per_hour):
        landed: list[float] = []
        since = gathered = 0
        for number in range(2 * files_per_hour):
            now = number * 3600 / files_per_hour
            since, gathered = (since if gathered else now), gathered + 1
            share = due_share(sum(at > now - 3600 for at in landed[-128:]), limit=128)
            if gathered >= share * 1000 or now - since >= share * 300:
                landed.append(now)
                gathered = 0
        busiest = max(sum(begin <= at < begin + 3600 for at in landed) for begin in landed)
        assert busiest <= 0.9 * 128
        assert sum(at < 300 for at in landed) <= 0.4 * 128


def test_without_a_maximum_age_only_a_full_batch_is_due(local_hub):
    eagerness = Eagerness(HfApi(local_hub.url), "you/textures", None, None, max_age=math.inf, reserve=0)
    assert (eagerness.share, eagerness.age) == (1.0, math.inf)
