"""Repositories in a folder. They survive a restart, also of a process that was killed while it wrote.

A repository is a folder of its own: `repo.json` (name, refs, discussions), and one file per commit that holds
what the commit changed. Every file is written under a temporary name and renamed once it is complete. A commit's file
is written before the `repo.json` that refers to it, so a crash between the two leaves an unreferenced commit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mat_vis_hub.local_hub.model.repository import Commit, Discussion, Repo
from mat_vis_hub.local_hub.model.trees import EMPTY, File

_COMMIT_FIELDS = ("oid", "parents", "title", "description", "author", "time", "serial")
_REPO_FIELDS = ("uid", "type", "id", "time", "private", "gated", "sdk", "refs")


class Archive:
    """A folder of repositories."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> Iterator[Repo]:
        """Read every repository. Raises `ValueError` that names the folder if one of them is damaged."""
        for folder in sorted(self._folder.iterdir()):
            if not (folder / "repo.json").is_file():  # an interrupted creation or deletion
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                repo = _read_repo(folder)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"The repository in {folder} is damaged ({error!r}): repair or delete it.") from error
            repo.storage = self
            yield repo

    def add(self, repo: Repo) -> None:
        (self._folder / repo.uid / "commits").mkdir(parents=True)

    def remove(self, repo: Repo) -> None:
        folder = self._folder / repo.uid
        (folder / "repo.json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def save_commit(self, repo: Repo, commit: Commit) -> None:
        data = {name: getattr(commit, name) for name in _COMMIT_FIELDS}
        data["changes"] = {path: file and asdict(file) for path, file in commit.changes.items()}
        _write(self._folder / repo.uid / "commits" / f"{commit.oid}.json", data)

    def save_repo(self, repo: Repo) -> None:
        data = {name: getattr(repo, name) for name in _REPO_FIELDS}
        data["discussions"] = [asdict(discussion) for discussion in repo.discussions.values()]
        _write(self._folder / repo.uid / "repo.json", data)


def _write(path: Path, data: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(data), encoding="utf-8")
    unfinished.replace(path)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_repo(folder: Path) -> Repo:
    data = _read(folder / "repo.json")
    discussions = [Discussion(**discussion) for discussion in data.pop("discussions")]
    repo = Repo(**data, discussions={discussion.num: discussion for discussion in discussions})
    for path in folder.glob("commits/*.unfinished"):
        path.unlink()
    saved = [_read(path) for path in folder.glob("commits/*.json")]
    for data in sorted(saved, key=lambda commit: int(commit["serial"])):
        changes = {path: File(**file) if file else None for path, file in data.pop("changes").items()}
        parents = tuple(data.pop("parents"))
        base = repo.commits[parents[0]].tree if parents else EMPTY
        commit = Commit(**data, parents=parents, changes=changes, tree=base.changed(changes))
        repo.commits[commit.oid] = commit
    return repo
