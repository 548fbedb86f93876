"""A folder of the user's own textures is checked before anything is uploaded."""

import pytest

pytest.importorskip("skimage", reason="the examples' package needs its extra")

import re

import numpy as np
from PIL import Image

from baking import folder, textures
from baking.layout import Tier

TIER = Tier("mine", "128")


def draw(path, size=(128, 128), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path, **options)
    return path


def test_each_subfolder_is_a_material_and_each_png_a_channel(tmp_path):
    draw(tmp_path / "wood" / "color.png")
    draw(tmp_path / "wood" / "roughness.png", mode="L")
    draw(tmp_path / "metal" / "color.png")
    (tmp_path / "README.txt").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / "wood" / ".DS_Store").touch()
    found = folder.read_folder(tmp_path, TIER)
    assert [(material.id, material.channels) for material in found] == [
        ("metal", ("color",)),
        ("wood", ("color", "roughness")),
    ]


def problem(tmp_path):
    with pytest.raises(folder.FolderError) as caught:
        folder.read_folder(tmp_path, TIER)
    return str(caught.value)


def test_a_missing_folder(tmp_path):
    assert problem(tmp_path / "nowhere").endswith("nowhere: no such folder")


def test_an_empty_folder(tmp_path):
    assert "no subfolders; expected one per material" in problem(tmp_path)


def test_an_empty_material(tmp_path):
    (tmp_path / "wood").mkdir()
    assert re.search(r"wood: no files; expected one PNG per channel \(color, normal, ", problem(tmp_path))


def test_a_texture_that_is_not_square(tmp_path):
    draw(tmp_path / "wood" / "color.png", size=(256, 128))
    assert problem(tmp_path).endswith("color.png: not square (256 x 128); crop it")


def test_a_texture_that_is_too_small(tmp_path):
    draw(tmp_path / "wood" / "color.png", size=(64, 64))
    assert problem(tmp_path).endswith("color.png: 64 x 64, too small for tier 128 (128 x 128)")


def test_a_jpeg_with_the_suffix_png(tmp_path):
    draw(tmp_path / "wood" / "color.png", format="JPEG")
    assert problem(tmp_path).endswith("color.png: not a PNG but JPEG; convert it")


def test_a_png_with_the_suffix_jpg(tmp_path):
    draw(tmp_path / "wood" / "color.jpg", format="PNG")
    assert problem(tmp_path).endswith("color.jpg: a PNG with the wrong suffix; rename it to color.png")


def test_a_file_that_is_not_an_image(tmp_path):
    draw(tmp_path / "wood" / "color.png").write_text("<html>404</html>")
    assert problem(tmp_path).endswith("color.png: not a PNG")


def test_a_truncated_png(tmp_path):
    path = draw(tmp_path / "wood" / "color.png", size=(512, 512))
    path.write_bytes(path.read_bytes()[:200])
    assert "color.png: cannot be read (" in problem(tmp_path)


def test_an_unknown_channel(tmp_path):
    draw(tmp_path / "wood" / "basecolor.png")
    assert "basecolor.png: unknown channel 'basecolor'; the channels are color, normal, " in problem(tmp_path)


def test_a_folder_inside_a_material(tmp_path):
    (tmp_path / "wood" / "color").mkdir(parents=True)
    assert "color: a folder inside a material" in problem(tmp_path)


def test_two_files_for_one_channel(tmp_path):
    draw(tmp_path / "wood" / "color.png")
    draw(tmp_path / "wood" / "color.PNG")
    if len(list((tmp_path / "wood").iterdir())) == 1:
        pytest.skip("this file system ignores case")
    assert "color.png: the second file for channel color" in problem(tmp_path)


def test_a_name_with_a_space(tmp_path):
    draw(tmp_path / "my wood" / "color.png")
    assert "my wood: a material's name consists of letters" in problem(tmp_path)


def test_all_problems_are_reported_at_once(tmp_path):
    draw(tmp_path / "wood" / "color.png", size=(64, 64))
    draw(tmp_path / "metal" / "normal.png", size=(256, 128))
    assert len(problem(tmp_path).splitlines()) == 2


def test_a_texture_of_the_right_size_is_published_unchanged(tmp_path):
    path = draw(tmp_path / "wood" / "color.png")
    [material] = folder.read_folder(tmp_path, TIER)
    assert folder.render(tmp_path, material, TIER) == {"color": path}


def test_a_larger_texture_is_resized(tmp_path):
    draw(tmp_path / "wood" / "color.png", size=(300, 300))
    [material] = folder.read_folder(tmp_path, TIER)
    assert textures.decode(folder.render(tmp_path, material, TIER)["color"], "color").shape == (128, 128, 3)


def test_normals_are_unit_vectors_after_resizing(tmp_path):
    (tmp_path / "wood").mkdir()
    noise = np.random.default_rng(0).random((256, 256))
    (tmp_path / "wood" / "normal.png").write_bytes(textures.encode(textures.normal_map(noise, relief=8)))
    [material] = folder.read_folder(tmp_path, TIER)
    vectors = textures.decode(folder.render(tmp_path, material, TIER)["normal"], "normal") * 2 - 1
    assert np.allclose(np.linalg.norm(vectors, axis=2), 1, atol=0.01)
