"""Every repository of one Hub, by type and id."""

from __future__ import annotations

from mat_vis_hub.local_hub.model.archive import Archive
from mat_vis_hub.local_hub.model.repository import Repo


class Registry:
    """
    The repositories of one Hub. Ids that differ only in case are the same repository.

    Args:
        archive (`Archive`, *optional*):
            Where repositories are kept. Defaults to memory.
    """

    def __init__(self, archive: Archive | None = None) -> None:
        self._archive = archive
        self._repos = {_key(repo.type, repo.id): repo for repo in (archive.load() if archive else ())}

    def get(self, repo_type: str, repo_id: str) -> Repo | None:
        return self._repos.get(_key(repo_type, repo_id))

    def all(self, repo_type: str) -> list[Repo]:
        return sorted((repo for repo in self._repos.values() if repo.type == repo_type), key=lambda repo: repo.id)

    def add(self, repo: Repo) -> None:
        repo.storage = self._archive
        self._repos[_key(repo.type, repo.id)] = repo
        if self._archive:
            self._archive.add(repo)

    def remove(self, repo: Repo) -> None:
        del self._repos[_key(repo.type, repo.id)]
        if self._archive:
            self._archive.remove(repo)

    def move(self, repo: Repo, new_id: str) -> None:
        del self._repos[_key(repo.type, repo.id)]
        repo.id = new_id
        self._repos[_key(repo.type, new_id)] = repo
        repo.save()


def _key(repo_type: str, repo_id: str) -> tuple[str, str]:
    return repo_type, repo_id.lower()
