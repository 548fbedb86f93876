"""Compute PBR maps from a height field, encode and decode PNGs, and resize.

During computation a map is an array of floats in [0, 1], shaped (n, n) or (n, n, 3). It is published as an 8-bit PNG.
Image rows run down, and the y axis of tangent space runs up (OpenGL convention: +Y, green is up).

The formulas use a height `h` in [0, 1]. `pitch` is the width of one texture pixel and `relief` the rise from h = 0 to
h = 1. Both have the same unit (pixels of the photograph), so a material looks the same at every tier. G_r is a Gaussian
blur of radius r.

    normal     n = (-s dh/dx, +s dh/drow, 1) / |...|, with s = relief / pitch and the derivatives per
               pixel by Sobel; stored as rgb = (n + 1) / 2. A flat height gives (128, 128, 255).
    ao         1 - strength * max(0, G_r h - h): the depth of a point below its surroundings, averaged over three
               radii. A flat height and every peak give 1.
    roughness  lo + (hi - lo) * min(1, sigma / sigma_max), with sigma^2 = G_r h^2 - (G_r h)^2: the local standard
               deviation of the height, which measures relief too fine to be visible as such.
    color      shade + (light - shade) * grey: the photographs are grey, so each one is tinted between two colors.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.filters import gaussian, sobel

RGB_CHANNELS = ("color", "normal", "emission")
RGB = tuple[int, int, int]

AO_RADII = (2.0, 4.0, 8.0)
AO_STRENGTH = 1.8
ROUGHNESS_RADIUS = 3.0
SIGMA_MAX = 0.18


def normal_map(height: np.ndarray, *, relief: float, pitch: float = 1.0) -> np.ndarray:
    """Return the tangent-space normals (+Y up) of a height field, as unit vectors packed into [0, 1]."""
    # skimage's Sobel filter spans two pixels (h[x + 1] - h[x - 1]). Half of it is the derivative per pixel.
    slope = relief / pitch / 2
    d_column = sobel(height, axis=1) * slope
    d_row = sobel(height, axis=0) * slope
    return pack_normals(np.dstack([-d_column, d_row, np.ones_like(height)]))


def pack_normals(vectors: np.ndarray) -> np.ndarray:
    """Normalize vectors and map them from [-1, 1] to [0, 1]."""
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    up = np.array([0.0, 0.0, 1.0])
    units = np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), up)
    return (units + 1) / 2


def ao_map(height: np.ndarray, *, pitch: float = 1.0) -> np.ndarray:
    """Return the ambient occlusion: 1 where the surface is open, less in cavities."""
    depths = [np.maximum(0, gaussian(height, sigma=radius / pitch) - height) for radius in AO_RADII]
    return np.clip(1 - AO_STRENGTH * np.mean(depths, axis=0), 0, 1)


def roughness_map(height: np.ndarray, *, lo: float, hi: float, pitch: float = 1.0) -> np.ndarray:
    """Return the roughness, between `lo` on smooth ground and `hi` on rough ground."""
    sigma = ROUGHNESS_RADIUS / pitch
    variance = gaussian(height**2, sigma=sigma) - gaussian(height, sigma=sigma) ** 2
    return lo + (hi - lo) * np.clip(np.sqrt(np.maximum(variance, 0)) / SIGMA_MAX, 0, 1)


def color_map(grey: np.ndarray, *, shade: RGB, light: RGB) -> np.ndarray:
    """Tint a grey image: `shade` where it is black, `light` where it is white, linear in between."""
    low, high = np.array(shade) / 255, np.array(light) / 255
    return low + (high - low) * grey[..., None]


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resample to `size` x `size` with Lanczos, channel by channel, in the encoded values."""
    if image.shape[:2] == (size, size):
        return image
    planes = [image] if image.ndim == 2 else list(np.moveaxis(image, 2, 0))
    # Pillow's mode F resamples floats. With 8 bits the values would be rounded twice.
    resized = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize((size, size), Image.Resampling.LANCZOS))
        for plane in planes
    ]
    out = resized[0] if image.ndim == 2 else np.dstack(resized)
    return np.clip(out.astype(np.float64), 0, 1)


def resize_channel(image: np.ndarray, channel: str, size: int) -> np.ndarray:
    """Resize one channel's map. Normals are normalized again, because averaging shortens them."""
    out = resize(image, size)
    return pack_normals(out * 2 - 1) if channel == "normal" else out


def encode(image: np.ndarray) -> bytes:
    """Encode an array as an 8-bit PNG. Deterministic for one version of Pillow and zlib."""
    # Round halves up, with a tolerance for float noise, so that a flat normal is (128, 128, 255).
    eight_bit = np.floor(image * 255 + 0.5 + 1e-6).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(eight_bit).save(buffer, format="PNG")
    return buffer.getvalue()


def decode(png: bytes | Path, channel: str) -> np.ndarray:
    """Decode a PNG to floats: three planes for colors and normals, else one. Alpha is dropped."""
    with Image.open(io.BytesIO(png) if isinstance(png, bytes) else png) as image:
        if image.mode.startswith("I"):
            # 16-bit grey. Some versions of Pillow clip it when they convert it to 8 bits.
            grey = np.asarray(image).astype(np.float64) / 65535
            return np.dstack([grey] * 3) if channel in RGB_CHANNELS else grey
        mode = "RGB" if channel in RGB_CHANNELS else "L"
        return np.asarray(image.convert(mode)).astype(np.float64) / 255


def shrink(png: bytes | Path, channel: str, size: int) -> bytes:
    """Resize one channel's PNG."""
    return encode(resize_channel(decode(png, channel), channel, size))
