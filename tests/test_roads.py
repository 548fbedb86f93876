"""Every road to a commit is throttled and told, and a new one in huggingface_hub would be noticed here."""

from __future__ import annotations

import ast
import queue
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import CommitScheduler, HfApi, HfFileSystem, ModelCard

from mat_vis_hub import RetryPolicy, ThrottledHfApi, ThrottleEvent
from mat_vis_hub.testing import virtual_time

REPO = "you/model"


@pytest.fixture
def api(local_hub, told):
    with virtual_time():
        api = ThrottledHfApi(
            endpoint=local_hub.url, token="hf_x", source="road", retry=RetryPolicy(jitter=0), hooks=[told.append]
        )
        api.create_repo(REPO)
        api.upload_file(path_or_fileobj=b"old", path_in_repo="old/a.txt", repo_id=REPO)
        local_hub.answer(429, headers={"Retry-After": "55"}, on="commit")
        yield api


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "new.txt").write_text("new")
    return tmp_path / "up"


def upload_file(api, path):
    api.upload_file(path_or_fileobj=str(path / "new.txt"), path_in_repo="new.txt", repo_id=REPO)


def upload_folder(api, path):
    api.upload_folder(folder_path=path, repo_id=REPO)


def upload_large_folder(api, path):
    if not hasattr(HfApi, "upload_large_folder"):
        pytest.skip("this generation has no upload_large_folder")
    api.upload_large_folder(repo_id=REPO, repo_type="model", folder_path=path, num_workers=1, print_report=False)


def delete_file(api, path):
    api.delete_file("old/a.txt", REPO)


def delete_files(api, path):
    api.delete_files(REPO, ["old/*"])


def delete_folder(api, path):
    api.delete_folder("old", REPO)


class Scheduler(CommitScheduler):
    """Lets us know when its thread has come to push."""

    _CommitScheduler__stopped = False  # which that thread reads, and __init__ sets only after starting it

    def trigger(self):
        future = super().trigger()
        PUSHES.put(future)
        return future


PUSHES: queue.Queue = queue.Queue()


def commit_scheduler(api, path):
    with Scheduler(repo_id=REPO, folder_path=path, every=1000, hf_api=api):
        PUSHES.get(timeout=60).result(timeout=60)


def file_system(api, path):
    with api.everywhere():
        HfFileSystem(endpoint=api.endpoint, token="hf_x", skip_instance_cache=True).pipe_file(f"{REPO}/new.txt", b"new")


def file_system_deletes(api, path):
    with api.everywhere():
        HfFileSystem(endpoint=api.endpoint, token="hf_x", skip_instance_cache=True).rm(f"{REPO}/old/a.txt")


class Card(ModelCard):
    def validate(self, *args, **kwargs) -> None:
        """Not by asking https://huggingface.co; the Hub that the card is pushed to validates it as well."""


def model_card(api, path):
    with api.everywhere():
        Card("---\nlicense: mit\n---\n# A model").push_to_hub(REPO, token="hf_x")


def a_library_s_own_object(api, path):
    with api.everywhere():
        HfApi(endpoint=api.endpoint, token="hf_x").upload_folder(repo_id=REPO, folder_path=path)


def in_the_background_of_a_library(api, path):
    theirs = HfApi(endpoint=api.endpoint, token="hf_x")
    with api.everywhere():
        theirs.upload_folder(repo_id=REPO, folder_path=path, run_as_future=True).result(timeout=60)


ROADS = [
    upload_file,
    upload_folder,
    upload_large_folder,
    delete_file,
    delete_files,
    delete_folder,
    commit_scheduler,
    file_system,
    file_system_deletes,
    model_card,
    a_library_s_own_object,
    in_the_background_of_a_library,
]


# CommitScheduler's own thread may be at anything when the test and its Hub end.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore:(?s).*upload_large_folder:FutureWarning")
@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__)
def test_a_refusal_on_this_road_is_waited_out_and_told(road, api, local_hub, told, path):
    road(api, path)
    assert [type(event) for event in told] == [ThrottleEvent]
    assert (told[0].source, told[0].repo_id, told[0].hint) == ("road", REPO, "retry-after")
    assert len(local_hub.commits) == 2
    assert [refusal.endpoint for refusal in local_hub.refusals] == ["commit"]


def test_everywhere_ends_where_it_ends(api):
    before = HfApi.create_commit, HfApi.upload_folder, HfApi.preupload_lfs_files
    try:
        with api.everywhere():
            assert HfApi.create_commit is not before[0]
            raise RuntimeError
    except RuntimeError:
        pass
    assert (HfApi.create_commit, HfApi.upload_folder, HfApi.preupload_lfs_files) == before


# Where huggingface_hub itself posts commits, and who calls what posts them. All of it goes through us: create_commit is
# overridden, and so is upload_folder, which alone starts the pipeline.
POSTS = {"create_commit", "_send_commit"}
CALLS_SEND_COMMIT = {"create_commit", "_do_commit"}
CALLS_PIPELINE = {"upload_folder"}


def functions():
    """Every function of the installed huggingface_hub: its name, and its syntax tree."""
    for path in Path(huggingface_hub.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node.name, node


def makes_a_commit_url(function: ast.AST) -> bool:
    """Whether it builds `.../api/.../commit/...`."""
    for node in ast.walk(function):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            if "/api/" in text and "/commit/" in text:
                return True
    return False


def calls(function: ast.AST, name: str) -> bool:
    return any(
        isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) == name
        for node in ast.walk(function)
    )


def test_nobody_posts_a_commit_around_us():
    posts, senders, pipelines = set(), set(), set()
    for name, function in functions():
        posts |= {name} if makes_a_commit_url(function) else set()
        senders |= {name} if calls(function, "_send_commit") else set()
        pipelines |= {name} if calls(function, "pipelined_upload") else set()
    assert posts, "huggingface_hub builds the address of a commit in a way that this test does not see"
    assert posts <= POSTS
    assert senders <= CALLS_SEND_COMMIT
    assert pipelines <= CALLS_PIPELINE
