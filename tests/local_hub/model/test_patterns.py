"""`.gitattributes` and `.gitignore`."""

import pytest

from mat_vis_hub.local_hub.model.patterns import default_gitattributes, is_ignored, is_lfs


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.png", ["a.png", "b/c/a.png"], ["a.png.txt", "png", "apng"]),
        ("/*.png", ["a.png"], ["b/a.png"]),
        ("data/*.csv", ["data/a.csv"], ["a.csv", "data/b/a.csv", "x/data/a.csv"]),
        ("data/**", ["data/a", "data/b/a"], ["data", "x/data/a"]),
        ("saved_model/**/*", ["saved_model/a", "saved_model/b/c/a"], ["saved_model", "a"]),
        ("**/logs/*.txt", ["logs/a.txt", "b/logs/a.txt"], ["logs/b/a.txt"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["az", "a/bz"]),
        ("*tfevents*", ["x.tfevents.1", "b/tfevents"], ["events"]),
        ("?.[ch]", ["a.c", "b/b.h"], ["ab.c", "a.x"]),
        ("[!ab].txt", ["c.txt"], ["a.txt", "b.txt"]),
        (r"\*.txt", ["*.txt"], ["a.txt"]),
        ("a+b(1).txt", ["a+b(1).txt"], ["aab1.txt"]),
        ("a[[:space:]]b.bin", ["a b.bin"], ["a_b.bin"]),
    ],
)
def test_patterns_match_as_in_git(pattern, matching, other):
    for matches in (lambda path: is_lfs(f"{pattern} filter=lfs\n", path), lambda path: is_ignored(pattern, path)):
        assert [path for path in [*matching, *other] if matches(path)] == matching


def test_the_last_matching_line_with_a_filter_decides_whether_a_file_is_lfs():
    attributes = "# all of it\n* filter=lfs diff=lfs merge=lfs -text\n*.md -filter\n*.txt text\nbig.md filter=lfs\n"
    assert is_lfs(attributes, "a.bin")
    assert is_lfs(attributes, "a.txt")
    assert not is_lfs(attributes, "a.md")
    assert is_lfs(attributes, "big.md")
    assert not is_lfs("", "a.bin")


def test_an_ignored_folder_is_ignored_with_its_content():
    assert is_ignored("build/", "build/a/b.txt")
    assert is_ignored("build/", "x/build/a")
    assert not is_ignored("build/", "build")
    assert is_ignored("build", "build")


def test_attributes_of_a_folder_do_not_apply_to_its_content():
    assert is_lfs("data filter=lfs", "x/data")
    assert not is_lfs("data filter=lfs", "data/a")
    assert not is_lfs("data/ filter=lfs", "data/a")
    assert not is_lfs("a/* filter=lfs", "a/b/c")


def test_invalid_patterns_are_skipped():
    assert is_ignored("//\na[\n*.log\n", "a.log")
    assert is_lfs("// filter=lfs\n!*.log -filter\n*.log filter=lfs\n", "a.log")


def test_an_exclamation_mark_negates_a_pattern():
    ignore = "*.log\n\n# but\n!keep.log\n"
    assert is_ignored(ignore, "a.log")
    assert not is_ignored(ignore, "x/keep.log")


def test_new_repositories_keep_weights_in_lfs_and_datasets_images_too():
    assert is_lfs(default_gitattributes("model"), "model.safetensors")
    assert not is_lfs(default_gitattributes("model"), "config.json")
    assert not is_lfs(default_gitattributes("model"), "a.png")
    assert is_lfs(default_gitattributes("dataset"), "a.png")
    assert is_lfs(default_gitattributes("dataset"), "a.parquet")
