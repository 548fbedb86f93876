"""Every way to make a commit with huggingface_hub is throttled, and its waits are emitted."""

from __future__ import annotations

import queue
import sys
import threading
from contextlib import suppress
from pathlib import Path
from unittest import mock

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, CommitScheduler, HfApi, HfFileSystem, ModelCard
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import RetryPolicy, ThrottledHfApi, ThrottleEvent
from mat_vis_hub.testing import virtual_time

REPO = "you/model"


@pytest.fixture
def api(local_hub, events):
    with virtual_time():
        api = ThrottledHfApi(
            endpoint=local_hub.url, token="hf_x", source="road", retry=RetryPolicy(jitter=0), hooks=[events.append]
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
    """Puts the future of each push into `PUSHES`."""

    _CommitScheduler__stopped = False  # its thread reads this, which __init__ sets after starting the thread

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
        """Skip the request to https://huggingface.co. The local Hub validates the card on commit."""


def model_card(api, path):
    with api.everywhere():
        Card("---\nlicense: mit\n---\n# A model").push_to_hub(REPO, token="hf_x")


def an_object_of_another_library(api, path):
    with api.everywhere():
        HfApi(endpoint=api.endpoint, token="hf_x").upload_folder(repo_id=REPO, folder_path=path)


def an_object_of_another_library_in_the_background(api, path):
    theirs = HfApi(endpoint=api.endpoint, token="hf_x")
    with api.everywhere():
        theirs.upload_folder(repo_id=REPO, folder_path=path, run_as_future=True).result(timeout=60)


# Taken before `everywhere()` begins, as transformers 4 and diffusers do at import.
MODULE_LEVEL = {name: getattr(huggingface_hub, name) for name in ("create_commit", "upload_file", "upload_folder")}


def module_level_create_commit(api, path):
    operations = [CommitOperationAdd("new.txt", b"new")]
    with api.everywhere():
        MODULE_LEVEL["create_commit"](repo_id=REPO, operations=operations, commit_message="Add", token="hf_x")


def module_level_upload_file(api, path):
    with api.everywhere():
        MODULE_LEVEL["upload_file"](path_or_fileobj=b"new", path_in_repo="new.txt", repo_id=REPO, token="hf_x")


def module_level_upload_folder(api, path):
    with api.everywhere():
        MODULE_LEVEL["upload_folder"](repo_id=REPO, folder_path=path, token="hf_x")


def a_bound_method_taken_before(api, path):
    method = HfApi(endpoint=api.endpoint, token="hf_x").create_commit
    with api.everywhere():
        method(REPO, [CommitOperationAdd("new.txt", b"new")], commit_message="Add")


def the_command_line_in_this_process(api, path):
    from huggingface_hub.cli.hf import main

    arguments = ["hf", "upload", REPO, str(path), "--token", "hf_x"]
    with api.everywhere(), mock.patch.object(sys, "argv", arguments), suppress(SystemExit):
        main()


ROADS = [
    module_level_create_commit,
    module_level_upload_file,
    module_level_upload_folder,
    a_bound_method_taken_before,
    the_command_line_in_this_process,
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
    an_object_of_another_library,
    an_object_of_another_library_in_the_background,
]


# CommitScheduler's thread may be in the middle of a push when the test and its Hub end.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore:(?s).*upload_large_folder:FutureWarning")
@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__)
def test_a_refusal_is_waited_out_and_emitted(road, api, local_hub, events, path):
    road(api, path)
    assert [type(event) for event in events] == [ThrottleEvent]
    assert (events[0].source, events[0].repo_id, events[0].hint) == ("road", REPO, "retry-after")
    assert len(local_hub.commits) == 2
    assert [refusal.endpoint for refusal in local_hub.refusals] == ["commit"]


def test_everywhere_leaves_nothing_behind_after_an_exception(api, local_hub):
    before = dict(vars(HfApi))
    theirs = HfApi(endpoint=local_hub.url, token="hf_x")
    with pytest.raises(ZeroDivisionError), api.everywhere():
        raise ZeroDivisionError
    assert dict(vars(HfApi)) == before
    with pytest.raises(HfHubHTTPError):
        commit(theirs)


def test_contexts_in_several_threads_may_end_in_any_order(api, local_hub):
    before = dict(vars(HfApi))
    theirs = HfApi(endpoint=local_hub.url, token="hf_x")
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first():
        with api.everywhere():
            first_is_in.set()
            assert second_is_in.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(60)
    with api.everywhere():
        second_is_in.set()
        thread.join(60)
        commit(theirs)  # the first context has ended, the second one has not
    assert dict(vars(HfApi)) == before
    local_hub.answer(429, on="commit")
    with pytest.raises(HfHubHTTPError):
        commit(theirs, "other.txt")


def test_the_innermost_of_nested_contexts_applies(api, local_hub, events):
    emitted: list = []
    inner = ThrottledHfApi(source="inner", hooks=[emitted.append])
    theirs = HfApi(endpoint=local_hub.url, token="hf_x")
    with api.everywhere():
        with inner.everywhere():
            commit(theirs)
        local_hub.answer(429, headers={"Retry-After": "5"}, on="commit")
        commit(theirs, "other.txt")
    assert [event.source for event in emitted] == ["inner"]
    assert [event.source for event in events] == ["road"]


def test_a_job_that_was_submitted_inside_stays_throttled_until_it_ends(api, local_hub, events, path):
    theirs = HfApi(endpoint=local_hub.url, token="hf_x")
    outside = threading.Event()
    with api.everywhere():
        theirs.run_as_future(outside.wait, 60)  # jobs run one after another
        file = theirs.upload_file(path_or_fileobj=b"new", path_in_repo="file.txt", repo_id=REPO, run_as_future=True)
        folder = theirs.upload_folder(repo_id=REPO, folder_path=path, run_as_future=True)
    local_hub.answer(429, headers={"Retry-After": "55"}, on="commit", after=1)  # the first commit's retry lands
    outside.set()
    file.result(timeout=60)
    folder.result(timeout=60)
    assert [event.wait_s for event in events] == [55, 55]


def test_overrides_of_a_subclass_and_of_an_object_are_called(api, local_hub):
    called = []

    class Theirs(HfApi):
        def create_commit(self, *args, **kwargs):
            called.append("subclass")
            return super().create_commit(*args, **kwargs)

    theirs = Theirs(endpoint=local_hub.url, token="hf_x")
    with api.everywhere():
        theirs.upload_file(path_or_fileobj=b"1", path_in_repo="1.txt", repo_id=REPO)
        plain = theirs.create_commit
        theirs.create_commit = lambda *args, **kwargs: called.append("object") or plain(*args, **kwargs)
        theirs.upload_file(path_or_fileobj=b"2", path_in_repo="2.txt", repo_id=REPO)
    assert called == ["subclass", "object", "subclass"]


def test_source_can_be_given_for_one_call(api, events, path):
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO, source="once")
    assert [event.source for event in events] == ["once"]
    assert api.source == "road"


@pytest.mark.parametrize(
    "call",
    [
        lambda api, path, source: api.upload_folder(repo_id=REPO, folder_path=path, source=source),
        lambda api, path, source: api.delete_file("old/a.txt", REPO, source=source),
        lambda api, path, source: api.delete_files(REPO, ["old/*"], source=source),
        lambda api, path, source: api.delete_folder("old", REPO, source=source),
        lambda api, path, source: api.upload_folder(
            repo_id=REPO, folder_path=path, source=source, run_as_future=True
        ).result(timeout=60),
    ],
    ids=["upload_folder", "delete_file", "delete_files", "delete_folder", "in the background"],
)
def test_source_is_taken_by_every_method_that_commits(api, events, path, call):
    call(api, path, "once")
    assert [event.source for event in events] == ["once"]


def commit(api, path="new.txt"):
    api.create_commit(REPO, [CommitOperationAdd(path, path.encode())], commit_message="Add")
