"""Real libraries commit to the local Hub inside `everywhere()`: one refusal is waited out, and the files arrive.

Each test runs a script in a process of its own, as a user would: the libraries are imported first, and `everywhere()`
comes later. `nox -s ecosystem` installs the libraries; the ordinary run does not collect this folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.timeout(600)

REFUSAL = {"error": "You have exceeded the rate limit for repository commits (128 per hour)."}


def needs(library):
    return pytest.mark.skipif(not find_spec(library), reason=f"needs {library}")


@pytest.fixture
def run(local_hub, tmp_path):
    """Run a script whose first commit the Hub refuses for a second; return the paths that were committed."""

    def run(script, *, commits=1):
        local_hub.answer(429, headers={"Retry-After": "1"}, body=REFUSAL, on="commit")
        result = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "HF_TOKEN": "hf_any", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        throttled = [line for line in result.stdout.splitlines() if line.startswith("bake_throttle ")]
        assert len(throttled) == 1, result.stdout
        assert re.fullmatch(
            r"bake_throttle source=job retry=1/5 reason=429 wait_s=1\.\d elapsed=\d+m\d+s", throttled[0]
        )
        assert [refusal.endpoint for refusal in local_hub.refusals] == ["commit"]
        assert len(local_hub.commits) == commits
        return {path for commit in local_hub.commits for path in commit.paths}

    return run


@needs("datasets")
def test_a_dataset_is_pushed_by_two_processes(run):
    paths = run("""
from datasets import Dataset
from mat_vis_hub import ThrottledHfApi

numbers = Dataset.from_dict({"number": range(1000)})
with ThrottledHfApi(source="job").everywhere():
    numbers.push_to_hub("me/numbers", num_proc=2)
""")
    assert paths == {"README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"}


@needs("datasets")
def test_a_dataset_dict_is_pushed(run):
    paths = run("""
from datasets import Dataset, DatasetDict
from mat_vis_hub import ThrottledHfApi

splits = DatasetDict({name: Dataset.from_dict({"number": range(10)}) for name in ("train", "test")})
with ThrottledHfApi(source="job").everywhere():
    splits.push_to_hub("me/numbers")
""")
    assert paths == {"README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"}


@needs("transformers")
def test_a_transformers_configuration_is_pushed(run):
    paths = run("""
from transformers import BertConfig
from mat_vis_hub import ThrottledHfApi

config = BertConfig(hidden_size=8)
with ThrottledHfApi(source="job").everywhere():
    config.push_to_hub("me/tiny")
""")
    assert "config.json" in paths


@needs("transformers")
def test_a_transformers_tokenizer_is_pushed(run):
    paths = run("""
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from mat_vis_hub import ThrottledHfApi

words = Tokenizer(models.WordLevel({"[UNK]": 0, "brick": 1}, unk_token="[UNK]"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
with ThrottledHfApi(source="job").everywhere():
    tokenizer.push_to_hub("me/tiny")
""")
    assert {"tokenizer.json", "tokenizer_config.json"} <= paths


@needs("diffusers")
def test_a_diffusers_configuration_is_pushed(run):
    """Without torch, diffusers has no pipelines; its configurations go through the same `upload_folder`."""
    paths = run("""
import tempfile

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils import PushToHubMixin
from mat_vis_hub import ThrottledHfApi


class Scheduler(ConfigMixin, PushToHubMixin):
    config_name = "scheduler_config.json"

    @register_to_config
    def __init__(self, steps=10):
        pass


with tempfile.TemporaryDirectory() as folder, ThrottledHfApi(source="job").everywhere():
    Scheduler().save_config(folder, push_to_hub=True, repo_id="me/tiny")
""")
    assert "scheduler_config.json" in paths


@needs("pandas")
def test_a_pandas_table_is_written_and_read_through_hf_urls(run):
    paths = run("""
import pandas
from huggingface_hub import HfApi
from mat_vis_hub import ThrottledHfApi

HfApi().create_repo("me/tables", repo_type="dataset")
table = pandas.DataFrame({"number": [1, 2, 3]})
with ThrottledHfApi(source="job").everywhere():
    table.to_csv("hf://datasets/me/tables/numbers.csv", index=False)
    assert pandas.read_csv("hf://datasets/me/tables/numbers.csv").equals(table)
""")
    assert paths == {"numbers.csv"}


HF_UPLOAD = """
import os
import sys
import tempfile
from importlib.metadata import entry_points
from mat_vis_hub import ThrottledHfApi

(hf,) = entry_points(group="console_scripts", name="hf")
main = hf.load()
with tempfile.TemporaryDirectory() as folder, ThrottledHfApi(source="job").everywhere():
    for name in ("a.txt", "b.txt"):
        with open(os.path.join(folder, name), "w") as file:
            file.write(name)
    sys.argv = ["hf", "upload", "me/files", {what}]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
"""


def test_the_hf_command_uploads_a_folder(run):
    assert run(HF_UPLOAD.format(what='folder, "."')) == {"a.txt", "b.txt"}


def test_the_hf_command_uploads_a_file(run):
    assert run(HF_UPLOAD.format(what='os.path.join(folder, "a.txt"), "a.txt"')) == {"a.txt"}
