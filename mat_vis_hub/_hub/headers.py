"""Which methods of `HfApi` send requests without the headers of their object."""

from __future__ import annotations

from huggingface_hub import HfApi

_WITHOUT_HEADERS = (
    "file_exists",
    "get_hf_file_metadata",
    "get_model_tags",
    "get_dataset_tags",
    "paper_info",
    "read_paper",
)


def without_headers() -> tuple[str, ...]:
    """The names of those methods that the installed `HfApi` has. Their requests are sent by the thread that calls."""
    return tuple(name for name in _WITHOUT_HEADERS if hasattr(HfApi, name))
