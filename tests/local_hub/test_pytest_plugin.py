"""The fixture `local_hub`, as its users use it."""

import os
import subprocess
import sys

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.utils import HfHubHTTPError


def test_the_fixture_is_a_running_hub(local_hub):
    assert HfApi(endpoint=local_hub.url, token="hf_local").create_repo("you/scratch").repo_id == "you/scratch"


@pytest.mark.local_hub(1, model="sliding")
def test_the_marker_passes_arguments_to_localhub(local_hub):
    api = HfApi(endpoint=local_hub.url, token="hf_local")
    api.create_repo("you/scratch")
    api.create_commit("you/scratch", [CommitOperationAdd("a", b"x")], commit_message="one")
    with pytest.raises(HfHubHTTPError, match="1 per hour"):
        api.create_commit("you/scratch", [CommitOperationAdd("b", b"x")], commit_message="two")


@pytest.mark.local_hub(1, commit_time=0)
class TestMarkersOfAClassAndOfAModule:
    @pytest.mark.local_hub(limit=2, model="sliding")
    def test_apply_too_but_the_closest_one_wins(self, local_hub):
        settings = local_hub._settings
        assert (settings.limit, settings.model, settings.commit_time) == (2, "sliding", 0)


def test_during_the_test_it_is_the_default_endpoint(local_hub):
    assert constants.ENDPOINT == os.environ["HF_ENDPOINT"] == local_hub.url
    assert HfApi().endpoint == local_hub.url


def test_after_the_test_the_default_endpoint_is_restored():
    assert constants.ENDPOINT == "https://huggingface.co"


def test_without_the_extra_only_tests_that_use_the_fixture_fail(tmp_path):
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    (tmp_path / "test_it.py").write_text("def test_one(): pass\ndef test_two(local_hub): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert "1 passed, 1 error" in ran.stdout
    assert 'The local Hub needs Starlette, uvicorn and pathspec: pip install "mat-vis-hub[local]"' in ran.stdout
