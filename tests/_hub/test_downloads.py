"""Whatever the generation, the threads of a snapshot download carry the headers of their object."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from mat_vis_hub import ThrottledHfApi
from mat_vis_hub._hub import downloads

REPO = "you/model"


@pytest.fixture
def hub(local_hub):
    api = HfApi(endpoint=local_hub.url, token="hf_x")
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=REPO)
    return local_hub


@pytest.mark.parametrize("download", [downloads.snapshot_download, ThrottledHfApi.snapshot_download])
def test_a_snapshot_is_downloaded_whole(hub, tmp_path, download):
    api = ThrottledHfApi(endpoint=hub.url, token="hf_x", hooks=[])
    folder = download(api, REPO, cache_dir=tmp_path, allow_patterns="*.txt")
    assert [path.name for path in Path(folder).iterdir()] == ["a.txt"]


def test_an_unknown_argument_is_an_error(hub):
    with pytest.raises(TypeError, match="no_such"):
        downloads.snapshot_download(ThrottledHfApi(endpoint=hub.url), REPO, no_such=1)


def test_the_feature_is_recognised(monkeypatch):
    def without(self, repo_id):
        return repo_id

    def with_headers(self, repo_id):
        return self.headers

    monkeypatch.setattr(HfApi, "snapshot_download", without)
    assert not downloads.forwards_headers()
    monkeypatch.setattr(HfApi, "snapshot_download", with_headers)
    assert downloads.forwards_headers()
