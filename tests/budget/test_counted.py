"""A whole fleet in virtual time, against the local Hub's own limiter: nothing refused, and next to nothing wasted."""

from __future__ import annotations

import heapq
import random

import pytest

from mat_vis_hub.local_hub.limiter import Limiter
from mat_vis_hub.retry_after import Cooldown
from tests.budget.conftest import REPOSITORY as HERE

LIMIT, WINDOW = 8, 6.0


class Fleet:
    """
    Writers that commit as fast as they may.

    Each commit takes a while; the Hub counts it somewhere within. `outsiders` are moments at which somebody commits
    who does not ask the budget.
    """

    def __init__(self, place, model: str, chance: random.Random, outsiders: tuple[float, ...] = ()) -> None:
        self.place = place
        self.now = 0.0
        self.limiter = Limiter(LIMIT, WINDOW, model, lambda: self.now)
        self.chance = chance
        self.refused = self.landed = 0
        self.events: list = []  # (when, tie-breaker, what happens then)
        for moment in outsiders:
            self.at(moment, lambda: self.limiter.take("commits"))

    def at(self, moment: float, event) -> None:
        heapq.heappush(self.events, (moment, self.chance.random(), event))

    def writer(self, budget, commits: int) -> None:
        if commits:
            self.go_or_wait(budget, budget.reserve(HERE), commits)

    def go_or_wait(self, budget, slot, commits: int) -> None:
        if slot.wait > 0:
            self.at(self.now + slot.wait, lambda: self.go_or_wait(budget, budget.renew(HERE, slot), commits))
        else:
            self.at(self.now + self.chance.uniform(0.01, 0.1), lambda: self.counted(budget, slot, commits))

    def counted(self, budget, slot, commits: int) -> None:
        if self.limiter.take("commits"):
            self.at(self.now + self.chance.uniform(0.01, 0.1), lambda: self.done(budget, slot, commits))
        else:
            self.refused += 1
            wait = self.limiter.standing("commits").reset_in
            budget.refused(HERE, slot, Cooldown(wait, LIMIT, WINDOW))
            self.writer(budget, commits)

    def done(self, budget, slot, commits: int) -> None:
        self.landed += 1
        budget.confirm(HERE, slot)
        self.writer(budget, commits - 1)

    def run(self, writers: int, commits: int, begin: float = 0.0) -> float:
        for _ in range(writers):
            budget = self.place.budget(limit=LIMIT, window=WINDOW)
            self.at(begin + self.chance.uniform(0, 0.05), lambda budget=budget: self.writer(budget, commits))
        while self.events:
            moment, _, event = heapq.heappop(self.events)
            self.place.passes(moment - self.now)
            self.now = moment
            event()
        assert self.landed == writers * commits
        return self.now - begin


@pytest.fixture(params=["memory", "sqlite"])
def place(request):
    return request.getfixturevalue(f"{request.param}_place")


@pytest.mark.parametrize("model", ["fixed", "sliding"])
@pytest.mark.parametrize("writers", [4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_no_commit_is_refused_and_the_fleet_is_within_a_tenth_of_the_optimum(place, model, writers, seed):
    fleet = Fleet(place, model, random.Random(seed))
    makespan = fleet.run(writers, commits=32 // writers)
    assert fleet.refused == 0
    assert makespan <= 1.1 * 3 * WINDOW


@pytest.mark.parametrize(("model", "optimum"), [("fixed", 21.5), ("sliding", 23.5)])
@pytest.mark.parametrize("seed", range(3))
def test_somebody_who_commits_past_the_budget_costs_few_refusals_and_little_time(place, model, optimum, seed):
    fleet = Fleet(place, model, random.Random(seed), outsiders=(0.5, 1.0, 1.5, 2.0, 2.5))
    makespan = fleet.run(writers=4, commits=8, begin=3.0)
    assert 1 <= fleet.refused <= 12
    assert makespan <= 1.1 * optimum
