"""`.gitattributes` and `.gitignore`: which files go through Git LFS, and which are ignored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache

from pathspec import GitIgnoreSpec

_END = "\0"  # in no pattern and in no path
# pathspec does not know these; `git lfs track "a b.bin"` writes `a[[:space:]]b.bin`.
_CLASSES = {"space": " \t", "digit": "0-9", "lower": "a-z", "upper": "A-Z", "alpha": "a-zA-Z", "alnum": "a-zA-Z0-9"}


def is_lfs(gitattributes: str, path: str) -> bool:
    """Whether the last line of `gitattributes` that matches `path` and sets a filter says `filter=lfs`."""
    return _lfs_spec(gitattributes).match_file(path + _END)


def is_ignored(gitignore: str, path: str) -> bool:
    return _ignore_spec(gitignore).match_file(path)


@lru_cache(maxsize=64)
def _ignore_spec(gitignore: str) -> GitIgnoreSpec:
    return _spec(gitignore.splitlines())


@lru_cache(maxsize=64)
def _lfs_spec(gitattributes: str) -> GitIgnoreSpec:
    """Write `gitattributes` as a `.gitignore` that "ignores" the files of Git LFS.

    The last match decides in both. But a pattern of `.gitattributes` does not apply to the content of a folder that
    it matches. The end mark, on patterns and on paths, keeps it from matching a folder.
    """
    lines = []
    for line in gitattributes.splitlines():
        pattern, *attributes = line.split() or [""]
        filters = [attribute for attribute in attributes if attribute.lstrip("-!").partition("=")[0] == "filter"]
        if filters and not pattern.startswith(("#", "!")):
            pattern += "/*" if pattern.endswith("/**") else ""  # the mark would make another word of "**"
            lines.append(f"{'' if filters[-1] == 'filter=lfs' else '!'}{pattern}{_END}")
    return _spec(lines)


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    spec = GitIgnoreSpec.from_lines([])
    for line in lines:
        line = re.sub(r"\[:(\w+):\]", lambda name: _CLASSES.get(name[1], ""), line)
        with suppress(ValueError):  # git skips invalid patterns, too
            spec = spec + GitIgnoreSpec.from_lines([line])
    return spec


DEFAULT_GITATTRIBUTES = {
    # What a new repository starts with: formats that are big, binary, or both.
    "model": "*.7z *.arrow *.bin *.bz2 *.ckpt *.gguf *.gz *.h5 *.joblib *.mlmodel *.model *.msgpack *.npy *.npz "
    "*.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar "
    "*.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*",
    # In addition, a dataset's media.
    "dataset": "*.aac *.avi *.bmp *.exr *.flac *.gif *.hdr *.jpeg *.jpg *.ktx2 *.m4a *.mkv *.mov *.mp3 *.mp4 *.ogg "
    "*.pcm *.png *.raw *.sam *.tif *.tiff *.wav *.webm *.webp *.lz4 *.mds",
}


def default_gitattributes(repo_type: str) -> str:
    patterns = DEFAULT_GITATTRIBUTES["model"].split()
    if repo_type == "dataset":
        patterns += DEFAULT_GITATTRIBUTES["dataset"].split()
    return "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns)
