"""Commits over time: how long all of them take compared with the optimum, how many are refused, which jobs die."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from huggingface_hub.errors import HfHubHTTPError
from matplotlib.axes import Axes
from urllib3.exceptions import MaxRetryError

from benchmarks.contenders import Contender, contenders, plain
from benchmarks.report import Report
from benchmarks.simulation import LIMIT, WINDOW, Hub, World
from mat_vis_hub import RetryPolicy

OTHER = "another writer"  # it shares no budget with the jobs
SHARE = 1 / 5  # of the quota, that it takes


@dataclass(frozen=True)
class Scenario:
    name: str
    jobs: int
    commits: int  # of each job
    beside_another: bool = False
    retry: RetryPolicy | None = None
    begins: float = 0.0  # seconds after another job has used up the window; 0 for an unused window
    seconds: float = 1.0  # that a commit takes


PATIENT = RetryPolicy(max_retries=60, max_total_wait=86400)
SCENARIOS = [
    Scenario("1 × 600", 1, 600),
    Scenario("16 × 64", 16, 64),
    Scenario("256 × 8", 256, 8, retry=PATIENT),
    Scenario("16 × 64 beside another writer", 16, 64, beside_another=True),
    Scenario("1 × 300, begun late", 1, 300, begins=3000.0),
]


@dataclass
class Run:
    """The result of one contender in one scenario."""

    hub: Hub
    scenario: Scenario
    contender: Contender
    dead: int = 0

    @property
    def hours(self) -> list[float]:
        """When its commits landed, in hours since it began."""
        return [(at - self.scenario.begins) / 3600 for at, who in self.hub.landed if who != OTHER]

    @property
    def refusals(self) -> int:
        return sum(who != OTHER for _, who in self.hub.refused)

    @property
    def worst(self) -> int:
        """The most refusals of one process in one window."""
        refused = [(at // self.hub.window, who) for at, who in self.hub.refused if who != OTHER]
        counts = Counter((window, None if self.contender.one_process else who) for window, who in refused)
        return max(counts.values(), default=0)

    @property
    def ratio(self) -> float | None:
        """The time until the last commit, over the optimum for all writers' commits. `None` if a job died."""
        if self.dead:
            return None
        last = max(at for at, who in self.hub.landed if who != OTHER)
        taken = sum(at <= last for at, _ in self.hub.landed)
        spent = self.hub.limit if self.scenario.begins else 0
        return (last - self.scenario.begins) / (optimum(spent + taken, self.hub) - self.scenario.begins)


def optimum(number: int, hub: Hub) -> float:
    """The earliest moment at which this many commits can have landed."""
    return math.floor((number - 1) / hub.limit) * hub.window


def race(contender: Contender, scenario: Scenario, model: str) -> Run:
    """Run all jobs of a scenario to the end."""
    world = World()
    hub = Hub(world, model=model, seconds=scenario.seconds)
    result = Run(hub, scenario, contender)
    running = scenario.jobs

    def job(name: str) -> None:
        nonlocal running
        send = contender.make()
        try:
            for number in range(scenario.commits):
                send(name, number)
        except (HfHubHTTPError, MaxRetryError):
            result.dead += 1
        finally:
            running -= 1

    def other_writer() -> None:
        send = plain()
        while running:
            with suppress(HfHubHTTPError):  # it goes on with its next commit
                send(OTHER, 0)
            world.sleep(hub.window / (hub.limit * SHARE))

    with hub.open():
        if scenario.begins:
            hub.spend(hub.limit)
            world.now = scenario.begins
        if scenario.beside_another:
            world.start(other_writer, process=-1)
        for number in range(scenario.jobs):
            world.start(lambda number=number: job(f"job {number}"), process=0 if contender.one_process else number)
        world.run()
    return result


def run(report: Report) -> None:
    logging.disable()  # huggingface_hub logs each refusal
    random.seed(2026)  # the jitter is the same in each run
    report.say(
        f"Virtual time, {LIMIT} commits per {WINDOW / 60:.0f} minutes. A commit takes one second. The code of this"
        " package, of huggingface_hub and of each library named is the real one; the refusals are the local Hub's. The"
        " optimum: commit number n can land no earlier than floor((n - 1) / 128) hours after the first. The 88 commits"
        " in the last window of a single writer take 88 s more in any case."
    )
    report.say(
        "Each job is a process of its own, except in the row that says threads. A job dies of the first error that its"
        " way of retrying raises. Where 256 jobs make 8 commits each, a commit waits about two hours, which is all that"
        f" the default policy allows, so `ThrottledHfApi` has `{_written(PATIENT)}` there. The other writer commits"
        " every 141 s, which is a fifth of the quota, and shares no budget. Begun late: another job has used up the"
        " window 50 minutes before. That scenario has no targets."
    )
    for model in ("fixed", "sliding"):
        runs = [race(contender, scenario, model) for scenario in SCENARIOS for contender in contenders(scenario.retry)]
        report.say(f"## A {model} window")
        _table(report, model, runs)
        _targets(report, model, runs)
        if model == "fixed":
            _picture(report, runs)
    _fast_commits(report)


def _fast_commits(report: Report) -> None:
    report.say("## Faster commits")
    report.say(
        "Processes without a budget compete for each new window, and the first ones may use all of it. The others wait"
        " for the next window, and give up after `max_total_wait`. With a budget, or in one process, commits are made"
        " in the order in which they were asked for."
    )
    rows = []
    for seconds in (0.2, 0.5, 1.0, 5.0):
        scenario = replace(SCENARIOS[1], seconds=seconds)
        runs = [race(contender, scenario, "fixed") for contender in contenders() if contender.ours]
        rows += [[f"{seconds:g} s", run.contender.name, run.dead, run.ratio, run.refusals] for run in runs]
    report.table("fast_commits", ["a commit takes", "with", "jobs died", "time / optimum", "refusals"], rows)


def _written(policy: RetryPolicy) -> str:
    return f"RetryPolicy(max_retries={policy.max_retries}, max_total_wait={policy.max_total_wait:g})"


def _table(report: Report, model: str, runs: Sequence[Run]) -> None:
    columns = ["jobs", "with", "landed", "jobs died", "time / optimum", "refusals", "most per window and process"]
    rows = []
    for run in runs:
        wanted = run.scenario.jobs * run.scenario.commits
        landed = f"{len(run.hours)} of {wanted}"
        row = [run.scenario.name, run.contender.name, landed, run.dead, run.ratio, run.refusals, run.worst]
        rows.append(row)
    report.table(model, columns, rows)


def _targets(report: Report, model: str, runs: Sequence[Run]) -> None:
    ours = [run for run in runs if run.contender.ours and not run.scenario.begins]
    report.target(f"{model}: jobs with ThrottledHfApi that died", sum(run.dead for run in ours), 0)
    for budget, at_most in ((True, 1.01), (False, 1.05)):
        chosen = [run for run in ours if run.contender.budget == budget]
        name = f"{model}: {'with' if budget else 'without'} a budget"
        report.target(f"{name}, time / optimum", max(run.ratio or math.inf for run in chosen), at_most)
        alone = [run for run in chosen if not run.scenario.beside_another]
        if budget:
            report.target(f"{name} and without another writer, refusals", sum(run.refusals for run in alone), 0)
        else:
            report.target(f"{name}, refusals per window and process", max(run.worst for run in alone), 2)


OTHERS = {"label": "the others, until their last job dies (×)", "color": "#dc2626", "linewidth": 1.2}
STYLES = {
    "sleep an hour": {"label": "sleep an hour", "color": "#f59e0b", "linewidth": 2.5},
    "ThrottledHfApi, a process each": {"label": "ThrottledHfApi", "color": "#2563eb", "linewidth": 2},
    "ThrottledHfApi with a budget": {"label": "ThrottledHfApi with a budget", "color": "#059669", "linestyle": "--"},
}


def _picture(report: Report, runs: Sequence[Run]) -> None:
    what = "Commits landed over hours: ThrottledHfApi follows the optimum, the others stop after the first 128"
    with report.picture("timeline", what, panels=(2, 3)) as panels:
        for axes, scenario in zip(panels, SCENARIOS, strict=False):
            _panel(axes, scenario, [run for run in runs if run.scenario is scenario])
        lines, labels = panels[0].get_legend_handles_labels()
        unique = dict(zip(labels, lines, strict=True))
        panels[-1].axis("off")
        panels[-1].legend(unique.values(), unique.keys(), loc="center left")


def _panel(axes: Axes, scenario: Scenario, runs: Sequence[Run]) -> None:
    wanted = scenario.jobs * scenario.commits
    last = max(max(run.hours, default=0) for run in runs)
    spent = LIMIT if scenario.begins else 0
    edge = [
        (max(0.0, hour - scenario.begins / 3600), LIMIT * (hour + 1) - spent) for hour in range(math.ceil(last) + 3)
    ]
    steps = {"where": "post", "color": "#d1d5db", "linewidth": 7, "solid_capstyle": "butt"}
    axes.step(*zip((0, 0), *edge, strict=True), label="the optimum", **steps)
    for run in runs:
        if run.contender.one_process:
            continue  # its line would hide another one
        style = STYLES.get(run.contender.name, OTHERS)
        axes.step([0, *run.hours], range(len(run.hours) + 1), where="post", **style)
        if run.dead:
            axes.plot(max(run.hours, default=0), len(run.hours), "x", color=style["color"], markersize=9)
    axes.set_title(scenario.name, fontsize=11)
    axes.set_xlabel("hours")
    axes.set_ylabel("commits landed")
    axes.set_xlim(-0.02 * last, 1.04 * last)
    axes.set_ylim(0, 1.05 * wanted)
