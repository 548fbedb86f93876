"""How much memory a batch takes: 2 GB of large files streamed through `CommitBatch.add`.

    python benchmarks/batch_memory.py [--megabytes 2000] [--file-megabytes 8]

Prints one line; fails if the peak is 300 MB or more above the start. The Hub is one on this machine (extra `local`),
in a process of its own, so that its memory does not count; it needs that much room for temporary files.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

ALLOWED = 300  # MB above the start
MB = 1_000_000


@contextlib.contextmanager
def hub() -> Iterator[str]:
    command = [sys.executable, "-m", "mat_vis_hub.local_hub", "--limit", "none", "--api-limit", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def peak() -> float:
    """The most memory that this process has had, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def measure(url: str, megabytes: int, file_megabytes: float) -> float:
    from huggingface_hub import __version__

    from mat_vis_hub import ThrottledHfApi
    from mat_vis_hub.batch import CommitBatch

    api = ThrottledHfApi(endpoint=url, token="hf_local")
    api.create_repo("you/textures", repo_type="dataset")
    size, count = int(file_megabytes * MB), int(megabytes / file_megabytes)
    start, began = peak(), time.perf_counter()
    with CommitBatch(api, "you/textures", repo_type="dataset", commit_message="Benchmark") as batch:
        for number in range(count):
            batch.add(f"{number % 100}/{number}.png", os.urandom(size))
    above, seconds = peak() - start, time.perf_counter() - began
    print(
        f"huggingface_hub {__version__}: {count} files of {size:,} bytes in {len(batch.commits)} commits"
        f" and {seconds:.0f} s; memory peaked {above:.0f} MB above the start of {start:.0f} MB"
    )
    return above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000, help="in all (default: 2000)")
    parser.add_argument("--file-megabytes", type=float, default=8, help="in each file (default: 8)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, hub() as url:
        # Read once, when huggingface_hub is imported: 0.x checks addresses against the endpoint.
        os.environ |= {"HF_HOME": home, "HF_ENDPOINT": url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        if measure(url, options.megabytes, options.file_megabytes) >= ALLOWED:
            sys.exit(f"That is not below {ALLOWED} MB.")


if __name__ == "__main__":
    main()
