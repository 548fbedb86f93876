"""The metadata of a README."""

import pytest

from mat_vis_hub.local_hub.model.card import LICENSES, check_card


@pytest.mark.parametrize(
    "metadata",
    [
        "license: cc0-1.0\ntags: [texture]\nlanguage: en",
        "license: [mit, other]",
        "language: [en, de]\ndatasets: you/x\nunknown: {a: 1}",
        "model-index: [{name: m, results: []}]",
        "model-index:",
    ],
)
def test_valid_metadata(metadata):
    for content in (f"---\n{metadata}\n---\n# Title", f"\n---\r\n{metadata}\r\n---", f"\ufeff---\n{metadata}\n---\n"):
        assert check_card(content) == ([], [])


@pytest.mark.parametrize("content", ["", "# Title", "---\n---\n", "---\nlicense: mit\n", "text\n---\na: 1\n---\n"])
def test_no_metadata_is_worth_a_warning(content):
    assert check_card(content) == ([], ["empty or missing yaml metadata in repo card"])


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ("license: apache2", f'"license" must be one of [{", ".join(LICENSES)}]'),
        ("license: {a: 1}", f'"license" must be one of [{", ".join(LICENSES)}]'),
        ("model-index: foo", '"model-index" must be an array'),
        ("model-index: [1]", '"model-index[0]" must be of type object'),
        ("model-index: [{results: []}]", '"model-index[0].name" is required'),
        ("model-index: [{name: m}]", '"model-index[0].results" must be an array'),
        ("tags: {a: 1}", '"tags" must be an array'),
        ("language: no", '"language" must be an array'),  # YAML reads Norway as false
    ],
)
def test_what_is_wrong_is_said_in_the_hubs_words(metadata, error):
    assert check_card(f"---\n{metadata}\n---\n") == ([error], [])


@pytest.mark.parametrize(
    "metadata", ["a: [", "a: 2026-13-01", "!!python/object:os.system x", "[" * 5000, "a: \0", "&a [*a]"]
)
def test_what_is_no_yaml_is_an_error(metadata):
    errors, warnings = check_card(f"---\n{metadata}\n---\n")
    assert len(errors) == 1
    assert warnings == []
