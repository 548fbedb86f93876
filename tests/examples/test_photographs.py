"""Materials computed from the photographs that scikit-image ships."""

import io

import pytest

pytest.importorskip("skimage", reason="the examples read scikit-image's photographs")

import skimage.data
from PIL import Image

from baking import photographs
from baking.layout import NAME, Tier


@pytest.mark.parametrize("source", photographs.SOURCES)
@pytest.mark.parametrize("tier", ["256", "128"])
def test_every_source_has_at_least_50_materials_with_valid_names(source, tier):
    ids = [patch.id for patch in photographs.patches(Tier(source, tier))]
    assert len(set(ids)) == len(ids) >= 50
    assert all(NAME.fullmatch(each) for each in ids)


@pytest.mark.parametrize("source", photographs.SOURCES)
def test_every_material_of_a_tier_exists_at_the_smaller_tiers(source):
    ids = {tier: {patch.id for patch in photographs.patches(Tier(source, tier))} for tier in ("512", "256", "128")}
    assert ids["512"] < ids["256"] == ids["128"]


@pytest.mark.parametrize("photograph", photographs.PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_sources_are_named_after_the_origin_of_the_photographs(photograph):
    """scikit-image's docstring links the page that the image was downloaded from."""
    docstring = getattr(skimage.data, photograph.name).__doc__
    assert photograph.url in docstring
    assert "Creative Commons CC0" in docstring
    site = {"ambientcg": "CC0Textures", "deviantart": "DeviantArt"}[photograph.source]
    assert site in docstring


@pytest.mark.parametrize("photograph", photographs.PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_the_photographs_come_with_scikit_image_and_are_512_pixels_wide(photograph):
    """The wheel contains them, so nothing is downloaded."""
    assert getattr(skimage.data, photograph.name)().shape == (photographs.PHOTOGRAPH_SIZE,) * 2


@pytest.mark.parametrize("size", [512, 256, 128])
def test_a_material_has_four_channels_of_its_tiers_size(size):
    tier = Tier("ambientcg", str(size))
    patch = photographs.patches(tier)[-1]
    rendered = photographs.render(patch, tier)
    assert tuple(rendered) == photographs.material(patch).channels == ("ao", "color", "normal", "roughness")
    for channel, png in rendered.items():
        image = Image.open(io.BytesIO(png))
        assert image.format == "PNG"
        assert image.size == (size, size)
        assert image.mode == ("RGB" if channel in ("color", "normal") else "L")


def test_rendering_is_deterministic_and_materials_differ():
    tier = Tier("deviantart", "128")
    first, second = photographs.patches(tier)[1:3]
    assert photographs.render(first, tier) == photographs.render(first, tier)
    assert photographs.render(first, tier)["color"] != photographs.render(second, tier)["color"]


def test_tiers_larger_than_the_photographs_are_rejected():
    with pytest.raises(ValueError, match=r"512 x 512, too small for tier 1k .*--textures"):
        photographs.patches(Tier("ambientcg", "1k"))


def test_the_error_for_an_unknown_source_names_the_known_ones():
    with pytest.raises(ValueError, match="ambientcg and deviantart"):
        photographs.patches(Tier("polyhaven", "256"))


def test_the_catalog_names_author_license_and_origin():
    patch = photographs.patches(Tier("deviantart", "256"))[1]
    about = photographs.material(patch).about["mat_vis"]
    assert about["attribution"] == {
        "authors": ["linolafett"],
        "license_spdx": "CC0-1.0",
        "source_url": "https://www.deviantart.com/linolafett/art/Grass-01-434853879",
    }
