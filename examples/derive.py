"""Publish a smaller tier of a source: read a finished larger tier from the Hub, resize it, and commit.

The larger tier must be complete. Its textures are read over HTTP and resized with Lanczos; normals are normalized
again. Materials that are already committed are skipped, so an interrupted run resumes where it stopped.

    python examples/derive.py --repo me/mat-vis-tst --release v2026.04.2 --source ambientcg --from-tier 256 --tier 128
"""

from __future__ import annotations

import argparse
import json
import sys

from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from baking import program, textures
from baking.layout import TIERS, Material, Tier, materials_at
from baking.log import Log
from baking.publish import Release, Textures, publish


def main(argv: list[str] | None = None) -> int:
    parser = program.make_parser(__doc__)
    parser.add_argument("--from-tier", required=True, type=program.tier, help=f"the finished tier: {', '.join(TIERS)}")
    parser.add_argument("--tier", required=True, type=program.tier, help="the tier to publish, a smaller one")
    args = program.parse(parser, argv)
    larger, tier = Tier(args.source, args.from_tier), Tier(args.source, args.tier)
    if larger.size <= tier.size:
        parser.error(f"--from-tier {larger.name} is not larger than --tier {tier.name}")

    def work(args: argparse.Namespace) -> None:
        log = Log("derive", tier)
        release = Release(program.open_hub(args), args.repo, args.release)
        # Read everything from one commit, so that later commits cannot change the input during the run.
        head = finished(release, larger)
        materials = materials_at(json.loads(release.read(larger.catalog, head)), larger)

        def render(material: Material) -> Textures:
            return {
                channel: textures.shrink(release.read(larger.texture(material.id, channel), head), channel, tier.size)
                for channel in material.channels
            }

        publish(release, tier, materials[: args.limit], render, batch_size=args.batch_size, log=log)

    return program.run(args, work, prog=parser.prog)


def finished(release: Release, tier: Tier) -> str:
    """Return the newest commit of the release.

    Raises:
        program.Failure: If `tier` is not complete in that commit, or if there is no such release.
    """
    try:
        head = release.head()
        release.read(tier.sentinel, head)
        return head
    except EntryNotFoundError:
        found = f"tier {tier.name} of source {tier.source} is not complete (no {tier.sentinel})"
    except RevisionNotFoundError:
        found = f"no release {release.name}"
    except RepositoryNotFoundError:
        found = "no such repository, or HF_TOKEN may not see it"
    raise program.Failure(f"{found}; bake tier {tier.name} first")


if __name__ == "__main__":
    sys.exit(main())
