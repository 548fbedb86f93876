"""See it work: a local Hub with a tight limit, two bakes and a derive against it, and the result read back.

Four separate processes; the three writers share one repository. The Hub takes 5 commits per 6 seconds, where the real
one takes 128 per hour, and refuses the next one in the real one's words; the writers wait, and none fails. With --plain
they use plain HfApi instead, and die of the first refusal.
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
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from baking.layout import MANIFEST, TIERS, Tier, materials_at

HERE = Path(__file__).parent
REPO, RELEASE = "demo/mat-vis-tst", "v2026.04.2"
LIMIT, WINDOW = 5, 6
BATCH = 10
MATERIALS = {"ambientcg/256": 60, "deviantart/256": 30, "deviantart/128": 30}
CHANNELS = 4
PATIENCE = 180  # seconds until a process counts as hung


class Process:
    """A child process whose lines are shown as they come, after its name, and kept."""

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
        """The first line that begins with `start`, or "" if there was none."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while self._reader.is_alive() and time.monotonic() < deadline:
                found = next((line for line in self.lines if line.startswith(start)), None)
                if found:
                    return found
                self._changed.wait(0.1)
        return ""

    def finish(self) -> int:
        """Close its input and wait for its end; return the exit code."""
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
        """The waits it announced, in seconds."""
        return [float(wait) for line in self.lines for wait in re.findall(r"^bake_throttle .* wait_s=([\d.]+)", line)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", action="store_true", help="use plain HfApi, and watch it die")
    parser.add_argument(
        "--window", type=int, default=WINDOW, metavar="S", help="seconds per 5 commits (default: %(default)s)"
    )
    parser.add_argument("--hub", action="store_true", help=argparse.SUPPRESS)  # be the Hub's process
    args = parser.parse_args(argv)
    if args.hub:
        return serve(args.window)
    started = time.monotonic()
    os.environ.update(NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")  # nothing here leaves this machine
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HF_HOME": home, "HF_TOKEN": "hf_demo", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        hub = Process("hub", [__file__, "--hub", "--window", str(args.window)], env)
        url = hub.wait_for_line("hub_ready").partition("url=")[2]
        if not url:
            return hub.finish() or 1
        env["HF_ENDPOINT"] = url
        writers = run_writers({**env, "MAT_VIS_PLAIN_HFAPI": "1"} if args.plain else env)
        failed = [writer.name for writer in writers.values() if writer.exit_code != 0]
        if args.plain:
            verdict = deaths(writers)
        elif failed:
            verdict = Verdict(False, f"Failed: {', '.join(failed)}.")
        else:
            verdict = verify(url, Path(home))
        hub.finish()
    table(writers, json.loads(hub.lines[-1].partition(" ")[2]))
    print(f"\n{verdict.text} {time.monotonic() - started:.0f} seconds in all.")
    return 0 if verdict.good else 1


def serve(window: int) -> int:
    """Be the Hub, until the demo closes our input; tell each refusal, and at the end what was counted."""
    try:
        from mat_vis_hub.local_hub import LocalHub
    except ModuleNotFoundError as error:
        print(error, flush=True)
        return 1
    with LocalHub(limit=LIMIT, window=window) as hub:
        print(f"hub_ready limit={LIMIT} window={window} url={hub.url}", flush=True)
        closed = threading.Thread(target=sys.stdin.read, daemon=True)
        closed.start()
        told = 0
        while closed.is_alive():
            closed.join(0.02)
            for refusal in hub.refusals[told:]:
                told += 1
                print(f"hub_refused status=429 limit={refusal.kind} repo={refusal.repo} refusals={told}", flush=True)
        commits = Counter(commit.message.partition(":")[0] for commit in hub.commits)
        print("hub_done", json.dumps({"commits": commits, "refusals": len(hub.refusals)}), flush=True)
    return 0


def run_writers(env: dict[str, str]) -> dict[str, Process]:
    """Two bakes at once, and a derive as soon as the bake that it reads from is done."""
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
    os.environ["MAT_VIS_HF_BASE"] = f"{url}/datasets/{REPO}/resolve"  # it reads it when it is imported
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


def deaths(writers: dict[str, Process]) -> Verdict:
    """Plain HfApi is expected to die: of 429, all the writers that the budget did not suffice for."""
    dead = [writer.name for writer in writers.values() if any(": 429 " in line for line in writer.lines)]
    if not dead:
        return Verdict(False, "Plain HfApi was expected to die of HTTP 429, and did not.")
    never = [f"derive {tier}" for tier in MATERIALS if tier not in writers]
    return Verdict(True, f"Died of HTTP 429: {', '.join(dead)}." + "".join(f" Never began: {each}." for each in never))


def table(writers: dict[str, Process], counted: dict[str, Any]) -> None:
    """Who committed what, how often it was refused, how long it waited; and what the Hub counted."""
    row = "{:<24} {:>10} {:>10} {:>10}"
    print("\n" + row.format("", "commits", "refused", "waited"))
    planned = {tier: -(-count // BATCH) + 2 for tier, count in MATERIALS.items()}
    for tier, plan in planned.items():
        writer = writers.get(tier)
        refused = sum(line.startswith("bake_throttle") or ": 429 " in line for line in writer.lines) if writer else 0
        waited = sum(writer.waits) if writer else 0
        name = writer.name if writer else f"derive {tier}"
        print(row.format(name, f"{counted['commits'].get(tier, 0)} of {plan}", refused, f"{waited:.1f} s"))
    made, lost = sum(counted["commits"].values()), sum(planned.values()) - sum(counted["commits"].values())
    print(row.format("the Hub's own count", made, counted["refusals"], f"{lost} lost"))


if __name__ == "__main__":
    sys.exit(main())
