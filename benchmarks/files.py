"""Files per hour: 10,000 files of materials, one commit each, by `upload_folder`, and by `api.batch`."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:  # loaded by the writers as well, whose memory is measured
    from matplotlib.axes import Axes

    from benchmarks.report import Report

LIMIT = 128  # commits an hour
FILES = 10_000
SINGLE_FILES = 3 * LIMIT + 1  # of a commit each: three full windows, and the one that has to wait for the fourth
START = 1 / 3600  # hours; where the picture begins
REPO: dict[str, Any] = {"repo_id": "you/textures", "repo_type": "dataset"}
MB = 1_000_000
LARGE = 8 * MB  # bytes of each file where the batch's memory is at stake
LARGE_FILES = 250
MEMORY_ALLOWED = 300.0  # MB above the start, for 10,000 files or 2 GB in one batch
SPAWN = get_context("spawn")  # a writer begins with nothing of ours in memory


# ---- what is written -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """So many files: where each goes, and its content, which no compression makes smaller, like a PNG."""

    count: int
    materials: tuple[dict[str, int], ...]  # bytes of each channel; they repeat

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for number, (path, size) in enumerate(self.sizes()):
            yield path, random.Random(number).randbytes(size)

    def sizes(self) -> Iterator[tuple[str, int]]:
        everything = (
            (f"ambientcg/256/material_{number:04}/{channel}.png", size)
            for number, channels in enumerate(itertools.cycle(self.materials))
            for channel, size in channels.items()
        )
        return itertools.islice(everything, self.count)

    def save(self, folder: Path) -> None:
        for path, content in self:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


def baked() -> tuple[dict[str, int], ...]:
    """The sizes of every thirteenth material that `examples/bake.py` bakes from its source ambientcg at tier 256."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    from baking import photographs
    from baking.layout import Tier

    tier = Tier("ambientcg", "256")
    rendered = (photographs.render(patch, tier) for patch in photographs.patches(tier)[1::13])
    return tuple({channel: len(png) for channel, png in textures.items()} for textures in rendered)


# ---- the ways to write it ------------------------------------------------------------------------------


def one_by_one(url: str, files: Files, folder: Path) -> None:
    from huggingface_hub import CommitOperationAdd

    api = _ours(url)
    for path, content in files:
        api.create_commit(operations=[CommitOperationAdd(path, content)], commit_message=f"Add {path}", **REPO)


def plain_folder(url: str, files: Files, folder: Path) -> None:
    from huggingface_hub import HfApi

    HfApi(endpoint=url, token="hf_x").upload_folder(folder_path=folder, **REPO)


def our_folder(url: str, files: Files, folder: Path) -> None:
    _ours(url).upload_folder(folder_path=folder, **REPO)


def batch(url: str, files: Files, folder: Path, *, hours: float = 0.0) -> None:
    """As a baker of one thread does: file by file; making all of them takes so many hours."""
    with _ours(url).batch(commit_message="Bake", **REPO) as batch:
        for path, content in files:
            time.sleep(hours * 3600 / files.count)
            batch.add(path, content)


def _ours(url: str) -> Any:
    from mat_vis_hub import ThrottledHfApi

    return ThrottledHfApi(endpoint=url, token="hf_x", hooks=[])


@dataclass(frozen=True)
class Way:
    name: str
    write: Callable[[str, Files, Path], None]
    color: str


HOURS = 6.0
ONE_BY_ONE = Way("a commit per file", one_by_one, "#dc2626")
PLAIN = Way("HfApi.upload_folder", plain_folder, "#f59e0b")
FOLDER = Way("ours.upload_folder", our_folder, "#7c3aed")
FAST = Way("api.batch, as fast as it can", batch, "#2563eb")
STEADY = Way(f"api.batch, files made over {HOURS:g} h", partial(batch, hours=HOURS), "#059669")


# ---- one writer and its Hub, each in a process of its own, with one clock ------------------------------


@dataclass
class Run:
    """What came of one way."""

    way: Way
    spent: bool
    landed: list[tuple[float, int]]  # hours, and how many files the commit brought
    refusals: int
    hours: float  # until it ended
    memory: float  # MB, at its peak, above the start
    error: str | None

    @property
    def files(self) -> int:
        return sum(count for _, count in self.landed)

    @property
    def last(self) -> float:
        """Hours until the last of its files landed."""
        return self.landed[-1][0] if self.landed else math.inf


def race(way: Way, files: Files, folder: Path, *, spent: bool = False, limit: int | None = LIMIT) -> Run:
    """Let one writer write all of it; `spent`: somebody else has just used up the window."""
    skipped = SPAWN.Value("d", 0.0)
    to_hub, hub_end = SPAWN.Pipe()
    to_writer, writer_end = SPAWN.Pipe()
    with tempfile.TemporaryDirectory() as home:
        hub = SPAWN.Process(target=_hub, args=(hub_end, skipped, limit), daemon=True)
        hub.start()
        url = to_hub.recv()
        # Read once, when huggingface_hub is imported.
        settings = {"HF_HOME": home, "HF_ENDPOINT": url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        with patch.dict(os.environ, settings):
            writer = SPAWN.Process(target=_writer, args=(writer_end, skipped, url, way, files, folder), daemon=True)
            writer.start()
        to_writer.recv()
        to_hub.send(LIMIT if spent else 0)
        began = to_hub.recv()
        to_writer.send("go")
        memory, error = to_writer.recv()
        ended, commits, refusals = _ask(to_hub)
        writer.join()
        hub.join()
    landed = [((at - began) / 3600, count) for at, count in commits]
    return Run(way, spent, landed, refusals, (ended - began) / 3600, memory, error)


def _ask(hub: Connection) -> Any:
    hub.send("stop")
    return hub.recv()


def _hub(pipe: Connection, skipped: Any, limit: int | None) -> None:
    from mat_vis_hub.local_hub import LocalHub

    def now() -> float:
        return time.time() + float(skipped.value)

    with LocalHub(limit=limit, clock=now) as hub:
        pipe.send(hub.url)
        hub.spend(REPO["repo_id"], pipe.recv(), repo_type=REPO["repo_type"])
        pipe.send(now())
        pipe.recv()
        commits = [(commit.time, sum(path.endswith(".png") for path in commit.paths)) for commit in hub.commits]
        pipe.send((now(), [commit for commit in commits if commit[1]], len(hub.refusals)))


def _writer(pipe: Connection, skipped: Any, url: str, way: Way, files: Files, folder: Path) -> None:
    with _waits_skipped(skipped), contextlib.redirect_stderr(io.StringIO()):
        _ours(url).create_repo(**REPO)
        pipe.send("ready")
        pipe.recv()
        start, error = _memory("VmRSS"), None
        try:
            way.write(url, files, folder)
        except Exception as failure:
            error = type(failure).__name__
        pipe.send((_memory("VmHWM") - start, error))


@contextlib.contextmanager
def _waits_skipped(skipped: Any) -> Iterator[None]:
    """Every `time.sleep` of this process returns at once, and the clocks, the Hub's as well, move on by as much."""

    def sleep(seconds: float) -> None:
        with skipped.get_lock():
            skipped.value += seconds

    def moved(clock: Callable[[], float]) -> Callable[[], float]:
        return lambda: clock() + float(skipped.value)

    with patch.multiple(time, sleep=sleep, monotonic=moved(time.monotonic), time=moved(time.time)):
        yield


def _memory(what: str) -> float:
    """Of this process, in MB: `VmRSS` now, `VmHWM` the most that it has had. Without procfs the latter in any case."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what)) * 1024 / MB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


# ---- what comes of it ----------------------------------------------------------------------------------


def run(report: Report) -> None:
    materials = baked()
    files = Files(FILES, materials)
    single, large = Files(SINGLE_FILES, materials), Files(LARGE_FILES, ({"color": LARGE},))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files.save(folder)
        runs = [race(ONE_BY_ONE, single, folder)]
        runs += [race(way, files, folder) for way in (PLAIN, FOLDER, FAST, STEADY)]
        runs += [race(way, files, folder, spent=True) for way in (PLAIN, FOLDER, FAST, STEADY)]
        largest = race(FAST, large, folder, limit=None)
    _method(report, files)
    _table(report, runs)
    _conclusions(report, runs, largest)
    _targets(report, runs, largest)
    _picture(report, runs)


def _method(report: Report, files: Files) -> None:
    sizes = [size for _, size in files.sizes()]
    report.say(
        f"{FILES:,} files, {sum(sizes) / MB:,.0f} MB in all, {LIMIT} commits an hour in a fixed window. Their sizes,"
        f" {min(sizes) / 1000:.0f} to {max(sizes) / 1000:.0f} kB, are those of {len(files.materials)} materials that"
        " `examples/bake.py` bakes at tier 256, over and over; their content is random bytes, as incompressible as a"
        " PNG's. The Hub is the local one, over HTTP and Xet, in a process of its own, and so is each writer."
        " Waiting is virtual: in the writer `time.sleep` returns at once, huggingface_hub's as well, and the clocks of"
        " both processes move on. Hours are those waits and the real seconds; there is no network between the two, so"
        " what takes no wait takes seconds. Memory is the peak of the writer's process above its start, which is after"
        " all imports and one request."
    )


def _table(report: Report, runs: list[Run]) -> None:
    columns = ["the window", "with", "landed", "hours", "files per hour", "commits", "refusals", "memory (MB)", "end"]
    rows = []
    for each in runs:
        name = f"{each.way.name}, {SINGLE_FILES} of them" if each.way is ONE_BY_ONE else each.way.name
        row: list[Any] = ["spent by another" if each.spent else "unspent", name, each.files]
        row += [each.last, round(each.files / each.last)] if each.landed else [None, None]
        row += [len(each.landed), each.refusals, round(each.memory), each.error or "all landed"]
        rows.append(row)
    hours = _alone(FILES)
    computed = ["unspent", f"{ONE_BY_ONE.name}, computed", FILES, hours, round(FILES / hours), FILES, None, None]
    rows.insert(1, [*computed, "all landed"])
    report.table("files", columns, rows)


def _conclusions(report: Report, runs: list[Run], largest: Run) -> None:
    single, _, _, fast, steady, died = runs[:6]
    late = runs[-1]
    report.say(
        f"A commit per file was measured for {SINGLE_FILES} files; the last landed after {single.last:.3f} hours, where"
        f" {_alone(SINGLE_FILES)} is the least that the quota allows, with {single.refusals} refusals. All {FILES:,}"
        f" take {_alone(FILES)} hours by the same arithmetic."
    )
    report.say(
        "What takes seconds is bound by this machine, and that close together it says nothing about who is faster on a"
        f" network. `HfApi.upload_folder` does well while nobody else commits. Where the window is spent it ends with"
        f" `{died.error}` after {died.refusals} refusals and {died.hours * 60:.1f} minutes, having retried in ever"
        f" smaller commits: {died.files} files landed. Ours waits, and lands all of it."
    )
    report.say(
        f"`api.batch` commits promptly while there is room: {len(fast.landed)} commits for the baker in a hurry,"
        f" {len(steady.landed)} over the {HOURS:g} hours of the steady one. That baker has one thread, and `add` waits"
        f" with the commit that it makes due: an hour that is spent is not baked in, so it takes {late.last:.2f} hours"
        f" where {HOURS:g} would do. Nothing runs behind a batch that could commit meanwhile; with several threads the"
        " others bake on until the next batch is full."
    )
    report.say(
        f"{LARGE_FILES} files of {LARGE // MB} MB, {LARGE * LARGE_FILES / MB / 1000:g} GB in one batch, take"
        f" {largest.memory:.0f} MB of memory."
    )


def _alone(files: int) -> int:
    """The hours that so many commits take at least."""
    return (files - 1) // LIMIT


def _targets(report: Report, runs: list[Run], largest: Run) -> None:
    ours = [each for each in runs if each.way is not PLAIN]
    single, plain, folder, fast, steady = runs[:5]
    report.target("files of ours that did not land", sum(_wanted(each) - each.files for each in ours), 0)
    report.target("unspent: a commit per file, time / optimum", single.last / _alone(SINGLE_FILES), 1.05)
    report.target("unspent: our upload_folder's commits / HfApi's", len(folder.landed) / len(plain.landed), 1)
    report.target("unspent: refusals of api.batch", fast.refusals + steady.refusals, 0)
    report.target("unspent: steady baker, time / baking time", steady.last / HOURS, 1.01)
    for each in ours:
        if each.spent and each.way is not STEADY:  # whose baking waits as well, see above
            report.target(f"spent: {each.way.name}, time / optimum", each.last, 1.05)
    memory = max(each.memory for each in (*ours, largest) if each.way in (FAST, STEADY))
    report.target("api.batch, peak memory (MB)", memory, MEMORY_ALLOWED, "MB")


def _wanted(each: Run) -> int:
    return SINGLE_FILES if each.way is ONE_BY_ONE else FILES


def _picture(report: Report, runs: list[Run]) -> None:
    what = f"{FILES:,} files against hours: one commit a file takes {_alone(FILES)} hours, a batch seconds"
    with report.picture("files", what, panels=(1, 2)) as panels:
        for axes, spent in zip(panels, (False, True), strict=True):
            for each in runs:
                if each.spent is spent:
                    _line(axes, each)
            axes.set_title("the window spent by another" if spent else "the window unspent", fontsize=11)
            axes.set_xscale("log")
            axes.set_xlim(START, 200)
            axes.set_xticks([1 / 3600, 1 / 60, 1, 10, 100], ["1 s", "1 min", "1 h", "10 h", "100 h"])
            axes.minorticks_off()
            axes.set_ylim(-300, 1.65 * FILES)
            axes.set_yticks(
                range(0, FILES + 1, FILES // 4), [f"{files:,}" for files in range(0, FILES + 1, FILES // 4)]
            )
            axes.set_xlabel("time (logarithmic)")
            axes.set_ylabel("files landed")
            axes.legend(loc="upper left", fontsize=9, borderaxespad=0.1, labelspacing=0.3)


def _line(axes: Axes, each: Run) -> None:
    color, hours = each.way.color, [hours for hours, _ in each.landed]
    files = list(itertools.accumulate(count for _, count in each.landed))
    if each.error:
        label = f"{each.way.name}: dies after {_spoken(each.hours)}"
        axes.plot(each.hours, each.files, "x", color=color, markersize=9, zorder=5, label=label)
        return
    if each.way is ONE_BY_ONE:  # on from what was measured, an hour's quota at a time
        more = range(math.floor(each.last), _alone(FILES) + 1)
        measured = [hour for hour in hours if hour < more[0]]
        hours = [*measured, *more]
        files = [*files[: len(measured)], *(min(FILES, LIMIT * (hour + 1)) for hour in more)]
    width = 5 if each.way is FOLDER else 2  # it lies beneath another
    axes.step(
        [START, *hours],
        [0, *files],
        where="post",
        color=color,
        linewidth=width,
        label=f"{each.way.name}: {_spoken(hours[-1])}",
    )


def _spoken(hours: float) -> str:
    if hours >= 0.5:
        return f"{hours:.0f} h"
    return f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"
