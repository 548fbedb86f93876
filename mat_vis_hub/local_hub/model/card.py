"""The metadata at the top of a README: what the Hub accepts there, and its sentences for what it does not."""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]  # huggingface_hub depends on it

_LICENSES = (
    # From the Hub's documentation, "Licenses". Anything else has to be called "other".
    "afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 "
    "bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 "
    "cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 "
    "cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 "
    "cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license deepnight-research-license "
    "ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 "
    "gpl-3.0 grok2-community h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 "
    "llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openrail openrail++ "
    "osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib"
)
LICENSES = _LICENSES.split()

_LISTS = ("datasets", "language", "metrics", "tags", "task_categories")
_BLOCK = re.compile(r"\s*---[\r\n]+(.*?)[\r\n]+---(?:\r?\n|$)", re.DOTALL)  # as huggingface_hub finds it


def check_card(content: str) -> tuple[list[str], list[str]]:
    """Return what is wrong with the metadata of a README, and what is only worth a warning."""
    block = _BLOCK.match(content.lstrip("\ufeff"))
    try:
        metadata = yaml.safe_load(block[1]) if block else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-13-01
        return [f"Invalid YAML in README.md: {error}"], []
    if not metadata:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(metadata, dict):
        return ["The metadata must be a mapping of names to values."], []
    return [*_wrong_lists(metadata), *_wrong_license(metadata), *_wrong_results(metadata)], []


def _wrong_lists(metadata: dict[str, Any]) -> list[str]:
    return [f'"{name}" must be an array' for name in _LISTS if isinstance(metadata.get(name), (dict, int, float))]


def _wrong_license(metadata: dict[str, Any]) -> list[str]:
    chosen = metadata.get("license")
    licenses = chosen if isinstance(chosen, list) else [] if chosen is None else [chosen]
    if all(license in LICENSES for license in licenses):
        return []
    return [f'"license" must be one of [{", ".join(LICENSES)}]']


def _wrong_results(metadata: dict[str, Any]) -> list[str]:
    models = metadata.get("model-index") or []
    if not isinstance(models, list):
        return ['"model-index" must be an array']
    errors = []
    for number, model in enumerate(models):
        if not isinstance(model, dict):
            errors.append(f'"model-index[{number}]" must be of type object')
        elif not isinstance(model.get("name"), str):
            errors.append(f'"model-index[{number}].name" is required')
        elif not isinstance(model.get("results"), list):
            errors.append(f'"model-index[{number}].results" must be an array')
    return errors
