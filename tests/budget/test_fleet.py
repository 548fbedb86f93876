"""A whole fleet at one budget: in virtual time to the millisecond, and as real processes by order and number."""

from __future__ import annotations

import heapq
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from huggingface_hub import HfApi

from mat_vis_hub.budget import Cooldown
from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.local_hub.limiter import Limiter
from tests.budget.conftest import REPOSITORY as HERE

LIMIT, WINDOW = 8, 6.0


class Fleet:
    """
    Writers that commit as fast as they may, in virtual time, at a Hub that is nothing but its limiter.

    Each commit takes a while; the Hub counts it somewhere within. `outsiders` are moments at which somebody commits
    without the budget.
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

    def go_or_wait(self, budget, reservation, commits: int) -> None:
        if reservation.wait > 0:
            again = lambda: self.go_or_wait(budget, budget.renew(HERE, reservation), commits)  # noqa: E731
            self.at(self.now + reservation.wait, again)
        else:
            self.at(self.now + self.chance.uniform(0.01, 0.1), lambda: self.counted(budget, reservation, commits))

    def counted(self, budget, reservation, commits: int) -> None:
        if self.limiter.take("commits"):
            self.at(self.now + self.chance.uniform(0.01, 0.1), lambda: self.done(budget, reservation, commits))
        else:
            self.refused += 1
            wait = self.limiter.standing("commits").reset_in
            budget.refused(HERE, reservation, Cooldown(wait, LIMIT, WINDOW))
            self.writer(budget, commits)

    def done(self, budget, reservation, commits: int) -> None:
        self.landed += 1
        budget.confirm(HERE, reservation)
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


class TestInVirtualTime:
    @pytest.mark.parametrize("model", ["fixed", "sliding"])
    @pytest.mark.parametrize("writers", [4, 16])
    @pytest.mark.parametrize("seed", range(3))
    def test_no_commit_is_refused_and_the_fleet_is_within_a_tenth_of_the_optimum(self, place, model, writers, seed):
        fleet = Fleet(place, model, random.Random(seed))
        makespan = fleet.run(writers, commits=32 // writers)
        assert fleet.refused == 0
        assert makespan <= 1.1 * 3 * WINDOW

    @pytest.mark.parametrize(("model", "optimum"), [("fixed", 21.5), ("sliding", 23.5)])
    @pytest.mark.parametrize("seed", range(3))
    def test_somebody_who_commits_without_the_budget_costs_few_refusals_and_little_time(
        self, place, model, optimum, seed
    ):
        fleet = Fleet(place, model, random.Random(seed), outsiders=(0.5, 1.0, 1.5, 2.0, 2.5))
        makespan = fleet.run(writers=4, commits=8, begin=3.0)
        assert 1 <= fleet.refused <= 12
        assert makespan <= 1.1 * optimum


# Each process commits in a loop and reports every commit that has landed. Where it would have to wait, it reports that
# and ends: so nobody waits for real, and the window is so long that even a very slow machine does not reach its end.
WRITER = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
from huggingface_hub import CommitOperationAdd, HfApi
from mat_vis_hub.budget import Repository, as_budget
from mat_vis_hub.budget.reservation import ReservedCommit

url, processes, threads, repo = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
number = next((number for number in range(1, processes) if os.fork() == 0), 0)

class Full(Exception):
    pass

api, budget = HfApi(token="hf_local"), as_budget(url)
here = Repository(api.endpoint, "model", repo)

def full(reservation, asked_at):
    raise Full

def write(thread):
    landed = 0
    while True:
        try:
            with ReservedCommit(budget, here, full):
                operations = [CommitOperationAdd(f"{number}/{thread}/{landed}.txt", b"")]
                api.create_commit(repo, operations, commit_message="Add a file")
        except Full:
            return landed
        landed += 1

os.write(1, b"ready\\n")  # whole, between the lines of the others
os.read(0, 1)
with ThreadPoolExecutor(threads) as pool:
    landed = sum(pool.map(write, range(threads)))
os.write(1, json.dumps({"landed": landed}).encode() + b"\\n")
"""


class TestRealProcesses:
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.parametrize(
        ("kept_in", "processes", "threads"),
        [("memory", 1, 16), ("sqlite", 4, 1), ("sqlite", 2, 4), ("redis", 4, 1), ("postgres", 4, 1)],
    )
    def test_exactly_the_limit_lands_before_somebody_has_to_wait_and_nothing_is_refused(
        self, kept_in, processes, threads, tmp_path, request
    ):
        limit, repo = 24, "you/textures"
        urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/budget.db"}
        fixtures = {"redis": "redis_url", "postgres": "empty_postgres_url"}
        url = urls.get(kept_in) or request.getfixturevalue(fixtures[kept_in])
        with LocalHub(limit=limit, window=86_400, model="sliding", api_limit=None, commit_time=0) as hub:
            HfApi(endpoint=hub.url, token="hf_local").create_repo(repo)
            before = len(hub.commits)
            arguments = [f"{url}?limit={limit}&window=86400&strict=1", str(processes), str(threads), repo]
            writers = subprocess.Popen(
                [sys.executable, "-c", WRITER, *arguments],
                env={**os.environ, "HF_ENDPOINT": hub.url},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            try:
                assert [writers.stdout.readline() for _ in range(processes)] == ["ready\n"] * processes
                writers.stdin.write("!" * processes)
                writers.stdin.flush()
                reports = [json.loads(writers.stdout.readline()) for _ in range(processes)]
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(writers.pid, signal.SIGKILL)
                writers.communicate()
            assert sum(report["landed"] for report in reports) == len(hub.commits) - before == limit
            assert len(hub.refusals) == 0
