"""The pytest fixture `local_hub`: a running `LocalHub` that is huggingface_hub's default endpoint during a test.

    def test_uploads(local_hub):
        HfApi(endpoint=local_hub.url).create_repo("you/scratch")

    @pytest.mark.local_hub(limit=4, model="sliding")
    def test_meets_the_limit(local_hub): ...

The marker takes the arguments of `LocalHub`. Those of a class or a module apply to its tests, too. pytest loads this
module in every project that has the package installed, so it imports nothing but pytest before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mat_vis_hub.local_hub import LocalHub


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "local_hub(limit=128, window=3600, ...): the arguments of LocalHub for the local_hub fixture"
    )


@pytest.fixture
def local_hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """
    A local Hub that runs during the test. `@pytest.mark.local_hub(...)` passes arguments to it.

    It is huggingface_hub's default endpoint meanwhile, in this process and, by `HF_ENDPOINT`, in those that it starts.
    So a request without an explicit endpoint does not reach the real Hub, and huggingface_hub 0.x, which checks some
    answers against the default endpoint, accepts those of this Hub.

    Yields:
        `LocalHub`: The running Hub.
    """
    from mat_vis_hub.local_hub import LocalHub

    arguments: dict[str, Any] = {}
    for marker in request.node.iter_markers("local_hub"):  # the closest one comes first
        arguments = {**signature(LocalHub).bind_partial(*marker.args, **marker.kwargs).arguments, **arguments}
    with LocalHub(**arguments) as hub:
        _make_default_endpoint(hub.url, monkeypatch)
        yield hub


def _make_default_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, file_download, hf_api

    monkeypatch.setattr(hf_api.api, "endpoint", url)  # the object behind the functions of huggingface_hub
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
