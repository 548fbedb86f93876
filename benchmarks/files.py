"""Files per hour: 10,000 files with one commit each, with `upload_folder` and with `api.batch`."""

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

if TYPE_CHECKING:  # the writers, whose memory is measured, import this module too
    from matplotlib.axes import Axes

    from benchmarks.report import Report

LIMIT = 128  # commits an hour
FILES = 10_000
SINGLE_FILES = 3 * LIMIT + 1  # with a commit each: three full windows and one commit of the fourth
START = 1 / 3600  # hours; where the picture begins
REPO: dict[str, Any] = {"repo_id": "you/textures", "repo_type": "dataset"}
MB = 1_000_000
LARGE = 8 * MB  # bytes of each file where the memory of a large batch is measured
LARGE_FILES = 250
MEMORY_ALLOWED = 300.0  # MB above the start, for 10,000 files or 2 GB in one batch
SPAWN = get_context("spawn")  # a writer inherits no memory of this process


# ---- what is written -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """Files to write: their paths, and random content, which cannot be compressed, like a PNG."""

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
    """The sizes of every 13th material that `examples/bake.py` bakes from the source ambientcg at tier 256."""
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
    """File by file, from one thread. Making all the files takes `hours`."""
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
FOLDER = Way("ThrottledHfApi.upload_folder", our_folder, "#7c3aed")
FAST = Way("api.batch, at full speed", batch, "#2563eb")
STEADY = Way(f"api.batch, files made over {HOURS:g} h", partial(batch, hours=HOURS), "#059669")


# ---- one writer and its Hub, in two processes with a common clock --------------------------------------


@dataclass
class Run:
    """The result of one way."""

    way: Way
    spent: bool
    landed: list[tuple[float, int]]  # of each commit: hours, and how many files it added
    refusals: int
    hours: float  # until the writer ended
    memory: float  # MB, the peak minus what it had at its start
    error: str | None

    @property
    def files(self) -> int:
        return sum(count for _, count in self.landed)

    @property
    def last(self) -> float:
        """Hours until the last file landed."""
        return self.landed[-1][0] if self.landed else math.inf


def race(way: Way, files: Files, folder: Path, *, spent: bool = False, limit: int | None = LIMIT) -> Run:
    """Let one writer write all files. `spent`: another one has just used up the window."""
    skipped = SPAWN.Value("d", 0.0)
    to_hub, hub_end = SPAWN.Pipe()
    to_writer, writer_end = SPAWN.Pipe()
    with tempfile.TemporaryDirectory() as home:
        hub = SPAWN.Process(target=_hub, args=(hub_end, skipped, limit), daemon=True)
        hub.start()
        url = to_hub.recv()
        # huggingface_hub reads these when it is imported.
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
    """Every `time.sleep` of this process returns at once, and moves on its clocks and the Hub's by as much."""

    def sleep(seconds: float) -> None:
        with skipped.get_lock():
            skipped.value += seconds

    def moved(clock: Callable[[], float]) -> Callable[[], float]:
        return lambda: clock() + float(skipped.value)

    with patch.multiple(time, sleep=sleep, monotonic=moved(time.monotonic), time=moved(time.time)):
        yield


def _memory(what: str) -> float:
    """The memory of this process in MB: `VmRSS` for now, `VmHWM` for the peak. Without procfs always the peak."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what)) * 1024 / MB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


# ---- the report ----------------------------------------------------------------------------------------


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
        " `examples/bake.py` bakes at tier 256, repeated. Their content is random bytes, which cannot be compressed,"
        " like a PNG. The Hub is the local one, over HTTP and Xet. It and each writer have a process of their own."
        " Waits are virtual: in the writer `time.sleep` returns at once, also huggingface_hub's, and the clocks of"
        " both processes move on. Hours are these waits plus the real seconds. There is no network between the two, so"
        " whatever does not wait takes seconds. Memory is the peak of the writer's process minus what it had after all"
        " imports and one request."
    )


def _table(report: Report, runs: list[Run]) -> None:
    columns = ["window", "with", "landed", "hours", "files per hour", "commits", "refusals", "memory (MB)", "end"]
    rows = []
    for each in runs:
        name = f"{each.way.name}, {SINGLE_FILES} of them" if each.way is ONE_BY_ONE else each.way.name
        row: list[Any] = ["used up" if each.spent else "unused", name, each.files]
        row += [each.last, round(each.files / each.last)] if each.landed else [None, None]
        row += [len(each.landed), each.refusals, round(each.memory), each.error or "all landed"]
        rows.append(row)
    hours = _alone(FILES)
    computed = ["unused", f"{ONE_BY_ONE.name}, computed", FILES, hours, round(FILES / hours), FILES, None, None]
    rows.insert(1, [*computed, "all landed"])
    report.table("files", columns, rows)


def _conclusions(report: Report, runs: list[Run], largest: Run) -> None:
    single, _, _, fast, steady, died = runs[:6]
    late = runs[-1]
    report.say(
        f"A commit per file was measured for {SINGLE_FILES} files. The last landed after {single.last:.3f} hours, with"
        f" {single.refusals} refusals; the quota allows no less than {_alone(SINGLE_FILES)} hours. By the same"
        f" arithmetic all {FILES:,} take {_alone(FILES)} hours."
    )
    report.say(
        "Times of a few seconds depend on this machine, and do not show what is faster over a network."
        " `HfApi.upload_folder` does well while nobody else commits. Where another writer has used up the window, it"
        f" retries in smaller and smaller commits, and ends with `{died.error}` after {died.refusals} refusals and"
        f" {died.hours * 60:.1f} minutes; {died.files} files landed. `ThrottledHfApi.upload_folder` waits, and all"
        " files land."
    )
    report.say(
        f"`api.batch` commits promptly while there is room: {len(fast.landed)} commits at full speed,"
        f" {len(steady.landed)} over the {HOURS:g} hours of the steady writer. A batch has no thread of its own: the"
        " `add` that makes a commit due also waits for it. The steady writer has one thread, so where the first hour's"
        f" window is used up it makes no files in that hour, and takes {late.last:.2f} hours instead of {HOURS:g}. With"
        " several threads, the others go on until the next batch is full."
    )
    report.say(
        f"One batch of {LARGE_FILES} files of {LARGE // MB} MB, {LARGE * LARGE_FILES / MB / 1000:g} GB in all, takes"
        f" {largest.memory:.0f} MB of memory."
    )


def _alone(files: int) -> int:
    """The least hours that this many commits take."""
    return (files - 1) // LIMIT


def _targets(report: Report, runs: list[Run], largest: Run) -> None:
    ours = [each for each in runs if each.way is not PLAIN]
    single, plain, folder, fast, steady = runs[:5]
    report.target("files of ThrottledHfApi that did not land", sum(_wanted(each) - each.files for each in ours), 0)
    report.target("unused: a commit per file, time / optimum", single.last / _alone(SINGLE_FILES), 1.05)
    report.target("unused: commits of upload_folder, over HfApi's", len(folder.landed) / len(plain.landed), 1)
    report.target("unused: refusals of api.batch", fast.refusals + steady.refusals, 0)
    report.target(f"unused: {STEADY.name}, time / {HOURS:g} h", steady.last / HOURS, 1.01)
    for each in ours:
        if each.spent and each.way is not STEADY:  # it makes no files while it waits
            report.target(f"used up: {each.way.name}, time / optimum", each.last, 1.05)
    memory = max(each.memory for each in (*ours, largest) if each.way in (FAST, STEADY))
    report.target("api.batch, peak memory (MB)", memory, MEMORY_ALLOWED, "MB")


def _wanted(each: Run) -> int:
    return SINGLE_FILES if each.way is ONE_BY_ONE else FILES


def _picture(report: Report, runs: list[Run]) -> None:
    what = f"{FILES:,} files over hours: one commit per file takes {_alone(FILES)} hours, a batch seconds"
    with report.picture("files", what, panels=(1, 2)) as panels:
        for axes, spent in zip(panels, (False, True), strict=True):
            for each in runs:
                if each.spent is spent:
                    _line(axes, each)
            axes.set_title("window used up by another writer" if spent else "window unused", fontsize=11)
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
    if each.way is ONE_BY_ONE:  # what follows the measured part is computed, an hour's quota at a time
        more = range(math.floor(each.last), _alone(FILES) + 1)
        measured = [hour for hour in hours if hour < more[0]]
        hours = [*measured, *more]
        files = [*files[: len(measured)], *(min(FILES, LIMIT * (hour + 1)) for hour in more)]
    width = 5 if each.way is FOLDER else 2  # another line covers it
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
