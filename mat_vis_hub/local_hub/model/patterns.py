"""The pattern language of `.gitattributes` and `.gitignore`, as far as repositories on the Hub use it."""

from __future__ import annotations

import re
from functools import lru_cache

_SPECIAL = re.compile(
    r"(?P<folders>(?:^|(?<=/))\*\*/)|\*\*|(?P<star>\*)|(?P<any>\?)|\\(?P<escaped>.)|(?P<set>\[!?\]?[^\]]*\])"
)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern with a slash in it is about the whole path, one without about any name in it."""
    anchored = "/" in pattern.rstrip("/")
    parts = ["" if anchored else "(?:.*/)?"]
    rest = pattern.strip("/") if anchored else pattern.rstrip("/")
    position = 0
    for match in _SPECIAL.finditer(rest):
        parts.append(re.escape(rest[position : match.start()]))
        position = match.end()
        if match["folders"]:
            parts.append("(?:.*/)?")
        elif match["star"]:
            parts.append("[^/]*")
        elif match["any"]:
            parts.append("[^/]")
        elif match["escaped"]:
            parts.append(re.escape(match["escaped"]))
        elif match["set"]:
            inner = match["set"][1:-1]
            parts.append(f"[^{inner[1:]}]" if inner.startswith("!") else match["set"])
        else:
            parts.append(".*")
    parts.append(re.escape(rest[position:]))
    return re.compile("".join(parts))


def _lines(text: str) -> list[str]:
    return [line for line in (line.strip() for line in text.splitlines()) if line and not line.startswith("#")]


def is_lfs(gitattributes: str, path: str) -> bool:
    """Whether the last line that says something about `path`'s filter says `filter=lfs`."""
    lfs = False
    for line in _lines(gitattributes):
        pattern, *attributes = line.split()
        filters = [attribute for attribute in attributes if attribute.lstrip("-!").startswith("filter")]
        if filters and _compiled(pattern).fullmatch(path):
            lfs = filters[-1] == "filter=lfs"
    return lfs


def is_ignored(gitignore: str, path: str) -> bool:
    """Whether the last pattern that matches `path`, or a folder above it, is not one with a `!`."""
    names = path.split("/")
    above = ["/".join(names[:depth]) for depth in range(1, len(names))]
    ignored = False
    for line in _lines(gitignore):
        pattern = line.removeprefix("!")
        candidates = above if pattern.endswith("/") else [*above, path]
        if any(_compiled(pattern).fullmatch(candidate) for candidate in candidates):
            ignored = not line.startswith("!")
    return ignored


DEFAULT_GITATTRIBUTES = {
    # What a new repository starts with: formats that are big, binary, or both.
    "model": "*.7z *.arrow *.bin *.bz2 *.ckpt *.gguf *.gz *.h5 *.joblib *.mlmodel *.model *.msgpack *.npy *.npz "
    "*.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar "
    "*.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*",
    # A data set's media are its data.
    "dataset": "*.aac *.avi *.bmp *.exr *.flac *.gif *.hdr *.jpeg *.jpg *.ktx2 *.m4a *.mkv *.mov *.mp3 *.mp4 *.ogg "
    "*.pcm *.png *.raw *.sam *.tif *.tiff *.wav *.webm *.webp *.lz4 *.mds",
}


def default_gitattributes(repo_type: str) -> str:
    patterns = DEFAULT_GITATTRIBUTES["model"].split()
    if repo_type == "dataset":
        patterns += DEFAULT_GITATTRIBUTES["dataset"].split()
    return "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns)
