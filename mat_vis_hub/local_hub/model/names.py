"""Which names repositories, refs and files may have."""

from __future__ import annotations

import re

_CONTROL = "\x00-\x1f\x7f"
_REPO_NAME = r"\w([\w.-]*\w)?"


def is_valid_repo_id(repo_id: str) -> bool:
    """Whether huggingface_hub accepts `repo_id`, and it has a namespace."""
    valid = re.fullmatch(f"{_REPO_NAME}/{_REPO_NAME}", repo_id, re.ASCII)
    return bool(valid) and len(repo_id) <= 96 and "--" not in repo_id and ".." not in repo_id and repo_id[-4:] != ".git"


def is_valid_ref(ref: str) -> bool:
    """Whether git accepts `ref`, by the rules of `git check-ref-format`, and a file system could keep it."""
    segments = ref.split("/")
    if any(not name or name.startswith(".") or name.endswith((".", ".lock")) for name in segments):
        return False
    return not re.search(rf"[{_CONTROL} ~^:?*\[\\]|\.\.|@\{{", ref) and len(ref) <= 255


def is_path(path: str) -> bool:
    """Whether `path` is a relative path of named files and folders, without control characters."""
    return all(path.split("/")) and not re.search(f"[{_CONTROL}]", path)


def is_allowed_path(path: str) -> bool:
    """Whether a repository may hold a file at `path`: it stays inside a folder, also when Windows downloads it."""
    return not any(name in (".", "..", ".git") for name in re.split(r"[/\\]", path))
