"""Runs the benchmarks: `python -m benchmarks [PART ...]`. Exits with 1 if a figure misses its target."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PARTS = {
    "timeline": "commits over time, compared with the optimum and with what people use today",
    "cost": "what the package adds to a commit and to an import, and what a retry sends again",
    "files": "files per hour: one commit per file, upload_folder, api.batch",
    "scale": "1 to 10,000 writers, 1 to 1,000 repositories",
}


def main() -> int:
    listed = "\n".join(f"  {name:10}{what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=listed, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all of them")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, metavar="FOLDER", help="where the results go; default: %(default)s"
    )
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"There is no part {unknown[0]!r}; there are {', '.join(PARTS)}.")
    if len(parts) == 1:
        return run(parts[0], options.output)
    # A process for each part: they patch clocks and HTTP clients, and measure memory.
    command = [sys.executable, "-m", "benchmarks", "--output", str(options.output)]
    return max(subprocess.run([*command, part], check=False).returncode for part in parts)


def run(part: str, output: Path) -> int:
    from benchmarks.report import Report

    report = Report(part, PARTS[part][0].upper() + PARTS[part][1:], output)
    import_module(f"benchmarks.{part}").run(report)
    report.save()
    missed = [target for target in report.targets if not target.met]
    for target in missed:
        print(f"Missed: {target.what}: {target.measured:g}, at most {target.at_most:g}.", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
