"""A release on the Hub: read it, and publish a tier with three kinds of commit.

1. batches of materials (`CommitBatch`);
2. the catalog and the manifest, in one compare-and-swap commit, because other programs write them too (`transact`);
3. the sentinel, which marks the tier as complete (`create_commit`).

A run that is killed loses at most its current batch, and the next run resumes there. All commits go through
`api.create_commit`, so the class of `api` decides what happens when the Hub refuses one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

from baking.layout import MANIFEST, Material, Tier, merge_catalog, merge_manifest, to_json
from baking.log import Log
from mat_vis_hub import CommitBatch, Snapshot, transact

WORKERS = 4

Textures = Mapping[str, "bytes | Path"]
Render = Callable[[Material], Textures]


class Release:
    """One branch of one dataset repository. `branch` has the arguments that select it in methods of `HfApi`."""

    def __init__(self, api: HfApi, repo_id: str, name: str) -> None:
        self.api = api
        self.name = name
        self.repo = {"repo_id": repo_id, "repo_type": "dataset"}
        self.branch = {**self.repo, "revision": name}

    def create(self) -> None:
        """Create the repository and the branch unless they exist. Other programs may do so at the same time."""
        if not self.api.repo_exists(**self.repo):
            self.api.create_repo(**self.repo, exist_ok=True)
        self.api.create_branch(**self.repo, branch=self.name, exist_ok=True)

    def head(self) -> str:
        """Return the commit that the branch points to."""
        return str(self.api.repo_info(**self.branch).sha)

    def files(self, folder: str) -> set[str]:
        """Return the paths of all files below `folder`, or an empty set if it does not exist."""
        tree = self.api.list_repo_tree(**self.branch, path_in_repo=folder, recursive=True)
        try:
            return {entry.path for entry in tree if isinstance(entry, RepoFile)}
        except EntryNotFoundError:
            return set()

    def read(self, path: str, revision: str) -> bytes:
        """Return one file's content. Each file is read once, so this does not fill huggingface_hub's cache."""
        url = f"{self.api.endpoint}/datasets/{self.repo['repo_id']}/resolve/{revision}/{path}"
        response = http_backoff("GET", url, headers=build_hf_headers(token=self.api.token))
        hf_raise_for_status(response)
        return response.content


def publish(
    release: Release, tier: Tier, materials: list[Material], render: Render, *, batch_size: int, log: Log
) -> None:
    """Publish `materials` at `tier`, except for those that are already there.

    Args:
        render: Returns a material's textures by channel. Called for up to `WORKERS` materials at once, and for a batch
            only after the previous batch is committed, so that memory holds one batch.
    """
    present = release.files(tier.folder)
    missing = [material for material in materials if not present.issuperset(tier.paths(material))]
    batches = [missing[start : start + batch_size] for start in range(0, len(missing), batch_size)]
    log.plan(materials=len(materials), skipped=len(materials) - len(missing), batches=len(batches))

    def add(material: Material) -> int:
        textures = render(material)
        for channel, content in textures.items():
            batch.add(tier.texture(material.id, channel), content)
        return len(textures)

    committed = len(materials) - len(missing)
    # With this age, `flush` commits after each `batch_size` materials. Only more files than fit a commit go earlier.
    with CommitBatch(
        release.api, **release.branch, commit_message=f"{tier.folder}: materials", max_age=inf, background=False
    ) as batch:
        for each in batches:
            with ThreadPoolExecutor(WORKERS) as pool:
                files = sum(pool.map(add, each))
            batch.flush()
            committed += len(each)
            log.progress(committed=committed, total=len(materials), files=files)
    commits = [*batch.commits, commit_index(release, tier, materials)]
    if tier.sentinel not in present:
        commits.append(commit_sentinel(release, tier))
    log.done(materials=len(materials), commits=len([*filter(None, commits)]))


def commit_index(release: Release, tier: Tier, materials: list[Material]) -> CommitInfo | None:
    """Add `tier` to the catalog and the manifest in one commit. Return `None` if they contain it already."""

    def merge(snapshot: Snapshot) -> list[CommitOperationAdd]:
        catalog = json.loads(snapshot.read(tier.catalog) or "[]")
        manifest = json.loads(snapshot.read(MANIFEST) or "{}")
        merged = {
            tier.catalog: (catalog, merge_catalog(catalog, tier, materials)),
            MANIFEST: (manifest, merge_manifest(manifest, release.name, tier)),
        }
        return [CommitOperationAdd(path, to_json(after)) for path, (before, after) in merged.items() if before != after]

    message = f"{tier.folder}: {len(materials)} materials"
    return transact(release.api, build=merge, **release.branch, commit_message=message, source=tier.source)


def commit_sentinel(release: Release, tier: Tier) -> CommitInfo:
    sentinel = CommitOperationAdd(tier.sentinel, f"{release.name}\n".encode())
    return release.api.create_commit(**release.branch, operations=[sentinel], commit_message=f"{tier.folder}: complete")
