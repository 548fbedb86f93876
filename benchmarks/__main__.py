"""Run the benchmarks, each part in a process of its own: `python -m benchmarks [PART ...]`. Exits 1 if one misses."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module

PARTS = {
    "timeline": "commits over time, against the optimum and what people use today",
    "cost": "what a commit costs with us, and what a retry sends again",
    "files": "files per hour: one commit a file, upload_folder, api.batch",
    "scale": "from one writer to ten thousand, from one repository to a thousand",
}


def main() -> int:
    listed = "\n".join(f"  {name:10}{what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=listed, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all of them")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"There is no part {unknown[0]!r}; there are {', '.join(PARTS)}.")
    if len(parts) == 1:
        return run(parts[0])
    # In processes of their own: one part's patched clock, memory or HTTP client is none of another's business.
    codes = [subprocess.run([sys.executable, "-m", "benchmarks", part], check=False).returncode for part in parts]
    return max(codes)


def run(part: str) -> int:
    from benchmarks.report import Report

    report = Report(part, PARTS[part][0].upper() + PARTS[part][1:])
    import_module(f"benchmarks.{part}").run(report)
    report.save()
    missed = [target for target in report.targets if not target.met]
    for target in missed:
        print(f"Missed: {target.what}: {target.measured:g}, at most {target.at_most:g}.", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
