"""A release on the Hub: reading it, and the three kinds of commit that publish a tier.

1. a batch of materials, again and again;
2. the catalog and the manifest, in one compare-and-swap commit, as other programs write the manifest too;
3. the sentinel, last: it says that the tier is whole.

A run that dies at any moment loses at most the batch it was at, and a second run goes on from there. Every commit goes
through `api.create_commit`, so that the constructor of `api` decides what happens when the Hub refuses one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

from .layout import MANIFEST, Material, Tier, merge_catalog, merge_manifest, to_json
from .log import Log

MAX_CONFLICTS = 10
WORKERS = 4

Textures = Mapping[str, "bytes | Path"]
Render = Callable[[Material], Textures]


class Release:
    """One branch of one dataset repository."""

    def __init__(self, api: HfApi, repo_id: str, name: str) -> None:
        self.api = api
        self.name = name
        self.commits = 0
        self._repo = {"repo_id": repo_id, "repo_type": "dataset"}

    def create(self) -> None:
        """Make the repository and the branch, unless they exist; another program may be doing the same."""
        if not self.api.repo_exists(**self._repo):
            self.api.create_repo(**self._repo, exist_ok=True)
        self.api.create_branch(**self._repo, branch=self.name, exist_ok=True)

    def head(self) -> str:
        """The commit that the branch points to now."""
        return str(self.api.repo_info(**self._repo, revision=self.name).sha)

    def files(self, folder: str, revision: str | None = None) -> set[str]:
        """The paths of all files below `folder`; none if there is no such folder."""
        tree = self.api.list_repo_tree(
            **self._repo, path_in_repo=folder, recursive=True, revision=revision or self.name
        )
        try:
            return {entry.path for entry in tree if isinstance(entry, RepoFile)}
        except EntryNotFoundError:
            return set()

    def exists(self, path: str, revision: str) -> bool:
        return bool(self.api.get_paths_info(**self._repo, paths=[path], revision=revision))

    def read(self, path: str, revision: str) -> bytes:
        """One file's content, over HTTP and past huggingface_hub's cache: it is read once and forgotten."""
        url = f"{self.api.endpoint}/datasets/{self._repo['repo_id']}/resolve/{revision}/{path}"
        response = http_backoff("GET", url, headers=build_hf_headers(token=self.api.token))
        hf_raise_for_status(response)
        return response.content

    def read_json(self, path: str, revision: str, default: Any) -> Any:
        """A JSON file's value, or `default` if it is not there. A failed read is an error, never the default."""
        return json.loads(self.read(path, revision)) if self.exists(path, revision) else default

    def commit(self, message: str, files: Textures, parent_commit: str | None = None) -> None:
        self.api.create_commit(
            **self._repo,
            operations=[CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=message,
            revision=self.name,
            parent_commit=parent_commit,
        )
        self.commits += 1


def publish(
    release: Release, tier: Tier, materials: list[Material], render: Render, *, batch_size: int, log: Log
) -> None:
    """Bring `materials` to the Hub at `tier`, but for what is there already.

    Args:
        render: gives a material's textures by channel. Called just before its batch is committed, and for up to
            `WORKERS` materials at once, so that memory holds one batch.
    """
    present = release.files(tier.folder)
    missing = [material for material in materials if not present.issuperset(tier.paths(material))]
    batches = [missing[start : start + batch_size] for start in range(0, len(missing), batch_size)]
    log.plan(materials=len(materials), skipped=len(materials) - len(missing), batches=len(batches))

    committed = len(materials) - len(missing)
    for batch in batches:
        files = commit_batch(release, tier, batch, render)
        committed += len(batch)
        log.progress(committed=committed, total=len(materials), files=files)
    commit_index(release, tier, materials, log)
    if tier.sentinel not in present:
        commit_sentinel(release, tier)
    log.done(materials=len(materials), commits=release.commits)


def commit_batch(release: Release, tier: Tier, batch: list[Material], render: Render) -> int:
    """Commit the textures of a few materials at once; return how many files that were."""
    with ThreadPoolExecutor(WORKERS) as pool:
        rendered = list(pool.map(render, batch))
    files = {
        tier.texture(material.id, channel): content
        for material, channels in zip(batch, rendered, strict=True)
        for channel, content in channels.items()
    }
    release.commit(f"{tier.folder}: {len(batch)} materials ({batch[0].id} to {batch[-1].id})", files)
    return len(files)


def commit_index(release: Release, tier: Tier, materials: list[Material], log: Log) -> None:
    """Add `tier` to the catalog and the manifest, in one commit on top of the very versions that were read.

    When another program commits in between, the Hub answers 412: read again, merge again, try again.
    """
    for conflicts in range(MAX_CONFLICTS + 1):
        head = release.head()
        files = _changed_index(release, head, tier, materials)
        if not files:
            return
        try:
            release.commit(f"{tier.folder}: {len(materials)} materials", files, parent_commit=head)
            return
        except HfHubHTTPError as error:
            if error.response.status_code != 412 or conflicts == MAX_CONFLICTS:
                raise
            log.conflict(retry=conflicts + 1, max_retries=MAX_CONFLICTS)


def commit_sentinel(release: Release, tier: Tier) -> None:
    release.commit(f"{tier.folder}: complete", {tier.sentinel: f"{release.name}\n".encode()})


def _changed_index(release: Release, head: str, tier: Tier, materials: Iterable[Material]) -> dict[str, bytes]:
    """The catalog and the manifest as they should be, without those that are so already."""
    catalog = release.read_json(tier.catalog, head, [])
    manifest = release.read_json(MANIFEST, head, {})
    merged = {
        tier.catalog: (catalog, merge_catalog(catalog, tier, list(materials))),
        MANIFEST: (manifest, merge_manifest(manifest, release.name, tier)),
    }
    return {path: to_json(after) for path, (before, after) in merged.items() if before != after}
