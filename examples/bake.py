"""Publish one source's textures at one tier: compute or read them, and commit them to a release on the Hub.

By default, the textures are computed from the CC0 photographs that scikit-image ships (sources ambientcg and
deviantart, tiers up to 512). --textures reads a folder of your own instead: one subfolder per material, one PNG per
channel. Materials that are already committed are skipped, so an interrupted run resumes where it stopped.

    python examples/bake.py --repo me/mat-vis-tst --release v2026.04.2 --source ambientcg --tier 256
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from baking import folder, photographs, program
from baking.layout import TIERS, Material, Tier
from baking.log import Log
from baking.publish import Release, Render, publish


def main(argv: list[str] | None = None) -> int:
    parser = program.make_parser(__doc__)
    parser.add_argument(
        "--tier", required=True, type=program.tier, help=f"resolution: {', '.join(TIERS)} (1k is 1024 x 1024)"
    )
    parser.add_argument("--textures", type=Path, metavar="DIR", help="bake this folder instead of the photographs")
    args = program.parse(parser, argv)
    tier = Tier(args.source, args.tier)
    try:
        materials, render = from_folder(args.textures, tier) if args.textures else from_photographs(tier)
    except ValueError as error:
        parser.error(str(error))

    def work(args: argparse.Namespace) -> None:
        log = Log("bake", tier)
        release = Release(program.open_hub(args), args.repo, args.release)
        release.create()
        publish(release, tier, materials[: args.limit], render, batch_size=args.batch_size, log=log)

    return program.run(args, work, prog=parser.prog)


def from_photographs(tier: Tier) -> tuple[list[Material], Render]:
    patches = {patch.id: patch for patch in photographs.patches(tier)}
    materials = [photographs.material(patch) for patch in patches.values()]
    return materials, lambda material: photographs.render(patches[material.id], tier)


def from_folder(textures: Path, tier: Tier) -> tuple[list[Material], Render]:
    materials = folder.read_folder(textures, tier)
    return materials, lambda material: folder.render(textures, material, tier)


if __name__ == "__main__":
    sys.exit(main())
