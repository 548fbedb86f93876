"""PBR maps computed from a height field, PNG encoding and decoding, and resizing."""

import io

import pytest

pytest.importorskip("skimage", reason="the examples compute textures with scikit-image")

import numpy as np
from PIL import Image

from baking import textures

FLAT = np.full((16, 16), 0.4)
# A slope that rises to the right, and one that rises to the top of the image.
RIGHT = np.tile(np.linspace(0, 1, 16), (16, 1))
TOP = RIGHT.T[::-1]


def pixel(image):
    """The middle pixel of the published map."""
    decoded = np.asarray(Image.open(io.BytesIO(textures.encode(image))))
    return tuple(int(value) for value in np.atleast_1d(decoded[8, 8]))


def png(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def test_a_flat_height_gives_the_neutral_maps():
    assert pixel(textures.normal_map(FLAT, relief=8)) == (128, 128, 255)
    assert pixel(textures.ao_map(FLAT)) == (255,)
    assert pixel(textures.roughness_map(FLAT, lo=0.6, hi=0.9)) == (153,)


def test_normals_are_unit_vectors():
    height = np.random.default_rng(0).random((32, 32))
    vectors = textures.normal_map(height, relief=8) * 2 - 1
    assert np.allclose(np.linalg.norm(vectors, axis=2), 1)


@pytest.mark.parametrize(
    ("height", "x", "y"),
    [(RIGHT, -1, 0), (RIGHT[:, ::-1], 1, 0), (TOP, 0, -1), (TOP[::-1], 0, 1)],
    ids=["rises to the right", "rises to the left", "rises to the top", "rises to the bottom"],
)
def test_normals_lean_away_from_the_rise_with_green_up(height, x, y):
    vector = textures.normal_map(height, relief=8)[8, 8] * 2 - 1
    assert np.sign(np.round(vector[:2], 9)).tolist() == [x, y]
    assert vector[2] > 0


def test_the_normal_of_a_slope_is_perpendicular_to_it():
    """The height rises by relief / 15 = 1 per pixel."""
    vector = textures.normal_map(RIGHT, relief=15)[8, 8] * 2 - 1
    assert np.allclose(vector, np.array([-1, 0, 1]) / np.sqrt(2))


def test_a_material_is_equally_steep_at_half_the_resolution():
    fine = np.tile(np.linspace(0, 1, 64), (64, 1))
    coarse = textures.resize(fine, 32)
    assert np.allclose(
        textures.normal_map(fine, relief=8)[32, 32], textures.normal_map(coarse, relief=8, pitch=2)[16, 16], atol=1e-3
    )


def test_a_pit_is_occluded_and_a_peak_is_not():
    pit, peak = FLAT.copy(), FLAT.copy()
    pit[8, 8], peak[8, 8] = 0.0, 1.0
    assert textures.ao_map(pit)[8, 8] < 0.8
    assert textures.ao_map(peak)[8, 8] == 1


def test_rough_ground_is_rougher_than_smooth_ground_and_both_stay_in_range():
    rugged = np.indices((16, 16)).sum(axis=0) % 2
    rough = textures.roughness_map(rugged.astype(float), lo=0.6, hi=0.9)
    assert np.allclose(rough, 0.9)
    assert np.allclose(textures.roughness_map(FLAT, lo=0.6, hi=0.9), 0.6, atol=1e-6)


def test_color_runs_from_the_shade_to_the_light():
    color = textures.color_map(np.array([[0.0, 1.0]]), shade=(10, 20, 30), light=(110, 120, 130))
    assert (color * 255).round().tolist() == [[[10, 20, 30], [110, 120, 130]]]


def test_the_same_array_gives_the_same_bytes():
    image = textures.normal_map(np.random.default_rng(1).random((32, 32)), relief=8)
    assert textures.encode(image) == textures.encode(image.copy())


def test_decoding_reverses_encoding():
    image = np.random.default_rng(2).integers(0, 256, (8, 8, 3)) / 255
    assert np.array_equal(textures.decode(textures.encode(image), "color"), image)


def test_a_16_bit_grey_png_keeps_its_range():
    grey = textures.decode(png(np.full((4, 4), 32768, dtype=np.uint16)), "displacement")
    assert grey.mean() == pytest.approx(0.5, abs=0.01)


def test_each_channel_has_the_right_number_of_planes():
    rgba = png(np.zeros((4, 4, 4), dtype=np.uint8))
    grey = png(np.zeros((4, 4), dtype=np.uint8))
    assert textures.decode(rgba, "roughness").shape == (4, 4)
    assert textures.decode(grey, "color").shape == (4, 4, 3)
    assert textures.decode(rgba, "normal").shape == (4, 4, 3)


def test_shrinking_a_normal_map_gives_unit_vectors():
    normals = textures.encode(textures.normal_map(np.random.default_rng(3).random((64, 64)), relief=12))
    small = textures.decode(textures.shrink(normals, "normal", 16), "normal") * 2 - 1
    assert small.shape == (16, 16, 3)
    assert np.allclose(np.linalg.norm(small, axis=2), 1, atol=0.01)  # the precision of 8 bits


def test_shrinking_keeps_the_mean_of_a_color():
    color = np.random.default_rng(4).random((64, 64, 3)) * 0.5 + 0.25
    small = textures.resize_channel(color, "color", 16)
    assert np.allclose(small.mean(axis=(0, 1)), color.mean(axis=(0, 1)), atol=0.01)


def test_resizing_does_not_overshoot_at_a_hard_edge():
    edge = np.zeros((64, 64))
    edge[:, 32:] = 1
    small = textures.resize(edge, 20)
    assert small.min() >= 0
    assert small.max() <= 1
