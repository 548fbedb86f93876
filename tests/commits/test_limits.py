"""What the Hub does not take is said before anything is uploaded."""

from __future__ import annotations

import warnings

import pytest
from huggingface_hub import CommitOperationDelete

from mat_vis_hub import ThrottledHfApi
from mat_vis_hub.commits import limits

REPO = "you/textures"


@pytest.fixture
def api(local_hub):
    api = ThrottledHfApi(local_hub.url, "hf_x", hooks=[])
    api.create_repo(REPO)
    return api


def test_a_folder_with_too_many_files(api, local_hub, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FOLDER_LIMIT", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("x")
    before = len(local_hub.requests)
    with pytest.raises(ValueError, match=r"The folder 'maps' has 4 files.*no more than 3.*Nothing has been uploaded"):
        api.upload_folder(repo_id=REPO, folder_path=tmp_path, path_in_repo="maps")
    assert len(local_hub.requests) == before


def test_a_commit_with_too_many_operations(api, local_hub):
    before = len(local_hub.requests)
    operations = [CommitOperationDelete(f"{number}.txt") for number in range(25_001)]
    with pytest.raises(ValueError, match=r"you/textures with 25,001 operations.*Use upload_folder or batch"):
        api.create_commit(REPO, operations, commit_message="Delete")
    assert len(local_hub.requests) == before


def test_many_files_for_one_repository_are_a_warning(api, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "REPOSITORY_LIMIT", 1)
    for number in range(2):
        (tmp_path / f"{number}.txt").write_text("x")
    with pytest.warns(UserWarning, match="2 files: the Hub recommends no more than 1 in one repository"):
        api.upload_folder(repo_id=REPO, folder_path=tmp_path)
    assert len(api.list_repo_files(REPO)) == 3


def test_a_batch_warns_once(api, monkeypatch):
    monkeypatch.setattr(limits, "REPOSITORY_LIMIT", 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with api.batch(REPO, commit_message="Bake") as batch:
            for number in range(6):
                batch.add(f"{number}.txt", b"x")
    assert [str(warning.message).split(":")[0] for warning in caught] == ["4 files"]
