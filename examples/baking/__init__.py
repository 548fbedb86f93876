"""Code that bake.py and derive.py share: textures, the layout of a release, and the commits that publish it."""

from importlib.util import find_spec

_missing = [
    name
    for module, name in {"numpy": "numpy", "PIL": "Pillow", "skimage": "scikit-image"}.items()
    if not find_spec(module)
]
if _missing:
    raise SystemExit(f'Computing textures needs {", ".join(_missing)}: pip install "mat-vis-hub[examples]"')
