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
    ],
)
def test_patterns_match_as_gits_do(pattern, matching, other):
    for ask in (lambda path: is_lfs(f"{pattern} filter=lfs\n", path), lambda path: is_ignored(pattern, path)):
        assert [path for path in [*matching, *other] if ask(path)] == matching


def test_the_last_line_about_a_path_decides_whether_it_is_lfs():
    attributes = "# all of it\n* filter=lfs diff=lfs merge=lfs -text\n*.md -filter\n*.txt text\nbig.md filter=lfs\n"
    assert is_lfs(attributes, "a.bin")
    assert is_lfs(attributes, "a.txt")
    assert not is_lfs(attributes, "a.md")
    assert is_lfs(attributes, "big.md")
    assert not is_lfs("", "a.bin")


def test_a_folder_is_ignored_with_all_that_is_in_it():
    assert is_ignored("build/", "build/a/b.txt")
    assert is_ignored("build/", "x/build/a")
    assert not is_ignored("build/", "build")
    assert is_ignored("build", "build")


def test_an_exclamation_mark_takes_a_path_back():
    ignore = "*.log\n\n# but\n!keep.log\n"
    assert is_ignored(ignore, "a.log")
    assert not is_ignored(ignore, "x/keep.log")


def test_a_new_repository_keeps_weights_in_lfs_and_a_dataset_its_images_too():
    assert is_lfs(default_gitattributes("model"), "model.safetensors")
    assert not is_lfs(default_gitattributes("model"), "config.json")
    assert not is_lfs(default_gitattributes("model"), "a.png")
    assert is_lfs(default_gitattributes("dataset"), "a.png")
    assert is_lfs(default_gitattributes("dataset"), "a.parquet")
