"""What a repository cannot do. `web` turns these into HTTP answers."""

from __future__ import annotations

from collections.abc import Sequence


class RevisionNotFound(LookupError):
    """The repository has no such branch, tag or commit."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"There is no revision {revision!r}.")
        self.revision = revision


class MergeConflict(Exception):
    """A pull request and its target branch changed the same files."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(f"Both sides changed {', '.join(paths)}.")
        self.paths = tuple(paths)
