"""Run two bakes and a derive against a local Hub with a tight commit limit, then read everything back.

The Hub and the three writers are separate processes, and the writers share one repository. The Hub accepts 5 commits
per 6 seconds (the real one: 128 per hour) and refuses the next one with the real Hub's message. It also loses the
answer to the first commit. The writers wait, find the commit whose answer was lost, and all of them finish. With
--plain they use plain HfApi and fail at the first refusal.

The demo shows the same on every machine: the Hub's clock stands still while it accepts commits, so a slow writer cannot
outlast a window. Exit code 0 means that the refusals were shown and that the result is correct.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from baking.layout import MANIFEST, TIERS, Tier, materials_at

if TYPE_CHECKING:
    from mat_vis_hub.local_hub import LocalHub

HERE = Path(__file__).parent
REPO, RELEASE = "demo/mat-vis-tst", "v2026.04.2"
LIMIT, WINDOW = 5, 6
BATCH = 10
MATERIALS = {"ambientcg/256": 60, "deviantart/256": 30, "deviantart/128": 30}
CHANNELS = 4
PATIENCE = 600  # seconds after which a process counts as hung


class Process:
    """A child process. Each line it prints is shown after its name, and kept in `lines`."""

    def __init__(self, name: str, command: list[str], env: dict[str, str]) -> None:
        self.name = name
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, *command],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                print(f"{self.name:>21} | {line}", end="", flush=True)
                with self._changed:
                    self.lines.append(line.strip())
                    self._changed.notify_all()

    def wait_for_line(self, start: str) -> str:
        """Return the first line that begins with `start`, or "" if the process ends without one."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while self._reader.is_alive() and time.monotonic() < deadline:
                found = next((line for line in self.lines if line.startswith(start)), None)
                if found:
                    return found
                self._changed.wait(0.1)
        return ""

    def finish(self) -> int:
        """Close its standard input, wait until it ends, and return its exit code."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(PATIENCE)
        return self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def waits(self) -> list[float]:
        """Seconds of each wait that followed a 429, as printed."""
        pattern = re.compile(r"^bake_throttle .*reason=429 wait_s=([\d.]+)")
        return [float(match[1]) for match in map(pattern.match, self.lines) if match]

    @property
    def died_of_429(self) -> bool:
        return any(": 429 " in line for line in self.lines)


class WindowClock:
    """
    The Hub's clock. Time passes only while the writers wait for a refused commit's window to reopen.

    In real time, writers that need two seconds per commit never make 5 commits in 6 seconds, and a busy machine would
    show no refusal. On this clock, all commits of a window are made at the same moment. The first refusal starts the
    clock; it runs in real time until the window reopens, and then stands still again.

    Args:
        limit: Commits per window.
        window: Seconds per window.
        real: A monotonic clock, in seconds.
    """

    def __init__(self, limit: int, window: float, *, real: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window = window
        self._real = real
        self._lock = threading.Lock()
        self._hub: LocalHub | None = None
        self._now = time.time()
        self._reopens = self._now + window
        self._full = limit  # commits in all when the current window is full
        self._refusals = 0  # refusals in all before the current window was full
        self._last_call = real()

    def watch(self, hub: LocalHub) -> None:
        """Let the refusals of `hub` start the clock. Until this is called it stands still."""
        self._hub = hub

    def __call__(self) -> float:
        with self._lock:
            last_call, self._last_call = self._last_call, self._real()
            if self._hub is None:
                return self._now
            commits, refusals = len(self._hub.commits), len(self._hub.refusals)
            if commits < self._full:
                self._refusals = refusals
            elif refusals > self._refusals:
                # Count from the previous call, which the refused request itself made: a writer that waits for the
                # announced time must not come back too early.
                self._now = min(self._now + self._last_call - last_call, self._reopens)
                if self._now == self._reopens:
                    self._reopens += self._window
                    self._full += self._limit
                    self._refusals = refusals
            return self._now


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", action="store_true", help="use plain HfApi, which fails at the first refusal")
    parser.add_argument(
        "--window", type=int, default=WINDOW, metavar="S", help="seconds per 5 commits (default: %(default)s)"
    )
    parser.add_argument("--hub", type=int, metavar="LIMIT", help=argparse.SUPPRESS)  # this process is the Hub
    args = parser.parse_args(argv)
    if args.hub:
        return serve(args.hub, args.window, reopen=not args.plain)
    started = time.monotonic()
    os.environ.update(NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")  # no proxy: all requests stay on this machine
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HF_HOME": home, "HF_TOKEN": "hf_demo", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        options = ["--hub", str(LIMIT), "--window", str(args.window), *(["--plain"] if args.plain else [])]
        hub = Process("hub", [__file__, *options], env)
        url = hub.wait_for_line("hub_ready").partition("url=")[2]
        if not url:
            return hub.finish() or 1
        env["HF_ENDPOINT"] = url
        writers = run_writers({**env, "MAT_VIS_PLAIN_HFAPI": "1"} if args.plain else env)
        verdict = check_plain(writers) if args.plain else check_throttled(writers) or verify(url, Path(home))
        hub.finish()
    table(writers, json.loads(hub.lines[-1].partition(" ")[2]))
    print(f"\n{verdict.text} {time.monotonic() - started:.0f} seconds in all.")
    return 0 if verdict.good else 1


def serve(limit: int, window: int, *, reopen: bool) -> int:
    """Run the Hub until standard input is closed. Print each refusal, and the totals at the end.

    Args:
        reopen: Whether a spent window reopens while the writers wait. Plain HfApi does not wait, so for it the window
            stays closed, as an hour would.
    """
    try:
        from mat_vis_hub.local_hub import LocalHub
    except ModuleNotFoundError as error:
        print(error, flush=True)
        return 1
    clock = WindowClock(limit, window)
    # Commits take no time. Otherwise it would depend on the machine how often two writers meet, and get 409.
    with LocalHub(limit=limit, window=window, clock=clock, commit_time=0) as hub:
        if reopen:
            clock.watch(hub)
            hub.drop(on="commit", applied=True)
        print(f"hub_ready limit={limit} window={window} url={hub.url}", flush=True)
        closed = threading.Thread(target=sys.stdin.read, daemon=True)
        closed.start()
        printed = 0
        while closed.is_alive():
            closed.join(0.02)
            for refusal in hub.refusals[printed:]:
                printed += 1
                print(f"hub_refused status=429 limit={refusal.kind} repo={refusal.repo} refusals={printed}", flush=True)
        commits = Counter(commit.message.partition(":")[0] for commit in hub.commits)
        print("hub_done", json.dumps({"commits": commits, "refusals": len(hub.refusals)}), flush=True)
    return 0


def run_writers(env: dict[str, str]) -> dict[str, Process]:
    """Run two bakes at once, and a derive as soon as the bake that it reads from is done."""
    writers: dict[str, Process] = {}

    def start(program: str, tier: str, *options: str) -> Process:
        source, name = tier.split("/")
        command = [str(HERE / program), "--repo", REPO, "--release", RELEASE, "--source", source, "--tier", name]
        limits = ["--limit", str(MATERIALS[tier]), "--batch-size", str(BATCH)]
        writers[tier] = Process(f"{Path(program).stem} {tier}", [*command, *limits, *options], env)
        return writers[tier]

    try:
        start("bake.py", "ambientcg/256")
        if start("bake.py", "deviantart/256").finish() == 0:
            start("derive.py", "deviantart/128", "--from-tier", "256").finish()
        writers["ambientcg/256"].finish()
    finally:
        for writer in writers.values():
            writer.stop()
    return writers


@dataclass
class Verdict:
    good: bool
    text: str


def planned_commits(tier: str) -> int:
    """A commit per batch, one for the catalog and the manifest, and one for the sentinel."""
    return -(-MATERIALS[tier] // BATCH) + 2


def check_throttled(writers: dict[str, Process]) -> Verdict | None:
    """Return what went wrong: a writer that failed, or fewer refusals than windows were spent."""
    failed = [writer.name for writer in writers.values() if writer.exit_code != 0]
    if failed:
        return Verdict(False, f"Failed: {', '.join(failed)}.")
    # The commit after each spent window is refused, no matter which writer makes it.
    certain = max(1, (sum(map(planned_commits, MATERIALS)) - 1) // LIMIT)
    shown = sum(len(writer.waits) for writer in writers.values())
    if shown < certain:
        return Verdict(False, f"Failed: expected at least {certain} refused commits, saw {shown}.")
    recovered = sum(line.startswith("bake_recovered ") for writer in writers.values() for line in writer.lines)
    if recovered != 1:
        return Verdict(False, f"Failed: expected 1 commit whose answer was lost to be found, saw {recovered}.")
    return None


def check_plain(writers: dict[str, Process]) -> Verdict:
    """Every writer that comes after the spent window must have died of 429, and no writer of anything else."""
    dead = [writer for writer in writers.values() if writer.exit_code != 0]
    others = [writer.name for writer in dead if not writer.died_of_429]
    if others:
        return Verdict(False, f"Failed, but not of HTTP 429: {', '.join(others)}.")
    finished = [tier for tier, writer in writers.items() if writer.exit_code == 0]
    if not dead or sum(map(planned_commits, finished)) > LIMIT:
        return Verdict(False, f"Plain HfApi should have died of HTTP 429. Finished: {', '.join(finished)}.")
    text = f"Died of HTTP 429: {', '.join(writer.name for writer in dead)}."
    return Verdict(True, text + "".join(f" Never began: derive {tier}." for tier in MATERIALS if tier not in writers))


def verify(url: str, cache: Path) -> Verdict:
    """Read everything back over HTTP: every material, every channel, every texture at its size."""
    published = with_mat_vis_client(url, cache) if find_spec("mat_vis_client") else with_plain_http(url)
    reader = "mat-vis-client" if find_spec("mat_vis_client") else "plain HTTP"
    textures, wrong = Counter[str](), []
    for tier, path, png in published:
        textures[tier] += 1
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            if image.size != (TIERS[tier.split("/")[1]],) * 2:
                wrong.append(f"{path} is {image.size}")
    expected = {tier: count * CHANNELS for tier, count in MATERIALS.items()}
    if textures == expected and not wrong:
        return Verdict(True, f"Read back with {reader}: all {textures.total()} textures are there, each of its size.")
    return Verdict(False, f"Read back with {reader}: expected {expected}, found {dict(textures)}, wrong: {wrong}.")


def with_mat_vis_client(url: str, cache: Path) -> Iterator[tuple[str, str, bytes]]:
    os.environ["MAT_VIS_HF_BASE"] = f"{url}/datasets/{REPO}/resolve"  # the client reads this when it is imported
    from mat_vis_client import MatVisClient

    client = MatVisClient(tag=RELEASE, cache_dir=cache, cache=False)
    for source in client.sources():
        for tier in client.tiers(source):
            for material in client.materials(source, tier):
                for channel, png in client.fetch_all_textures(source, material, tier).items():
                    yield f"{source}/{tier}", f"{source}/{tier}/{material}/{channel}", png


def with_plain_http(url: str) -> Iterator[tuple[str, str, bytes]]:
    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"{url}/datasets/{REPO}/resolve/{RELEASE}/{path}") as response:
            return response.read()

    for source, entry in json.loads(get(MANIFEST))["sources"].items():
        catalog = json.loads(get(entry["catalog"]))
        for tier in (Tier(source, name) for name in entry["tiers"]):
            get(tier.sentinel)
            for material in materials_at(catalog, tier):
                for path in tier.paths(material):
                    yield tier.folder, path, get(path)


def table(writers: dict[str, Process], counted: dict[str, Any]) -> None:
    """Print each writer's commits, refusals and waits, and the Hub's own totals."""
    row = "{:<24} {:>10} {:>10} {:>10}"
    print("\n" + row.format("", "commits", "refused", "waited"))
    planned = {tier: planned_commits(tier) for tier in MATERIALS}
    for tier, plan in planned.items():
        writer = writers.get(tier)
        waits = writer.waits if writer else []
        refused = len(waits) + (writer.died_of_429 if writer else 0)
        name = writer.name if writer else f"derive {tier}"
        print(row.format(name, f"{counted['commits'].get(tier, 0)} of {plan}", refused, f"{sum(waits):.1f} s"))
    made = sum(counted["commits"].values())
    lost = sum(planned.values()) - made
    print(row.format("the Hub's own count", made, counted["refusals"], f"{lost} lost"))


if __name__ == "__main__":
    sys.exit(main())
