"""The wrapped client, over real HTTP: which requests are throttled, and what a retry sends again."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

import mat_vis_hub
from mat_vis_hub import GaveUpEvent, RetryPolicy, ThrottledHfApi, ThrottleEvent, transport
from mat_vis_hub._hub.errors import is_lost
from tests.clients import BaseClient, factory_set_to

REPO = "you/model"


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").create_repo(REPO)
    return local_hub


@pytest.fixture
def api(hub, events) -> ThrottledHfApi:
    return ThrottledHfApi(
        endpoint=hub.url, token="hf_x", source="baker", retry=RetryPolicy(jitter=0), hooks=[events.append]
    )


def plain(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_x")


def commit(api: HfApi, path: str = "a.txt", content: object = b"a", **kwargs):
    return api.create_commit(REPO, [CommitOperationAdd(path, content)], commit_message="Add", **kwargs)


def seen(hub, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in hub.requests)


class TestWhichRequestsAreThrottled:
    def test_only_requests_of_a_throttled_object_wait(self, api, hub, events):
        hub.answer(429, headers={"Retry-After": "30"}, on="commit", times=2)
        commit(api)
        assert [event.wait_s for event in events] == [30, 30]
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(plain(hub), "b.txt")

    @pytest.mark.parametrize(
        "call",
        [
            lambda api: api.whoami(),
            lambda api: api.repo_info(REPO),
            lambda api: api.list_repo_refs(REPO),
            lambda api: list(api.list_repo_tree(REPO)),
            lambda api: list(api.list_repo_commits(REPO)),
            lambda api: api.get_paths_info(REPO, ["README.md"]),
            lambda api: api.create_branch(REPO, branch="next"),
            lambda api: api.create_tag(REPO, tag="v1"),
            lambda api: api.create_repo("you/other"),
            lambda api: api.repo_exists(REPO),
        ],
        ids=["whoami", "info", "refs", "tree", "commits", "paths", "branch", "tag", "repo", "exists"],
    )
    def test_every_api_request_waits_out_a_spent_bucket(self, api, hub, time, events, call):
        hub.answer(429, headers={"RateLimit": '"api";r=0;t=55'}, body={"error": "We had to rate limit you."})
        call(api)
        assert time.waits == [55]
        assert [(type(event), event.hint) for event in events] == [(ThrottleEvent, "ratelimit")]

    def test_a_download_waits_out_a_spent_bucket(self, api, hub, time, events, tmp_path):
        commit(api)
        hub.answer(429, headers={"RateLimit": '"resolvers";r=0;t=9'}, body={"error": "slow down"}, on="resolve")
        path = api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path)
        assert Path(path).read_bytes() == b"a"
        assert time.waits == [9]

    def test_the_threads_of_a_snapshot_download_wait_out_refusals(self, api, hub, time, tmp_path, monkeypatch):
        monkeypatch.setattr("time.sleep", sleep)  # huggingface_hub polls its lock files
        for number in range(4):
            commit(api, f"{number}.txt")
        hub.answer(429, headers={"Retry-After": "9"}, on="resolve", times=3)
        folder = Path(api.snapshot_download(REPO, cache_dir=tmp_path))
        assert sorted(path.name for path in folder.glob("?.txt")) == ["0.txt", "1.txt", "2.txt", "3.txt"]
        assert time.waits == [9, 9, 9]

    def test_merging_a_pull_request_counts_as_a_commit(self, api, hub, time):
        pull_request = commit(api, create_pr=True)
        number = pull_request.pr_num
        api.change_discussion_status(REPO, number, "open")
        hub.answer(429, headers={"Retry-After": "30"}, on="merge")
        api.merge_pull_request(REPO, number)
        assert time.waits == [30]
        commit(api, "b.txt")  # the gate is open again
        assert time.waits == [30]

    def test_the_private_header_is_never_sent(self, hub, time):
        sent: list = []
        with factory_set_to(lambda: RecordingClient(sent)):
            api = ThrottledHfApi(endpoint=hub.url, token="hf_x", headers={"x-mine": "1"}, hooks=[])
            assert transport.MARK in api.headers
            api.repo_info(REPO)
            commit(api)
        assert len(sent) >= 3
        assert not any(transport.MARK in names for names in sent)
        assert all("x-mine" in names for names in sent)

    def test_a_client_that_a_hook_makes_is_not_throttled(self, api, hub):
        answers: list = []

        def post(event) -> None:
            hub.answer(429, on="whoami")
            with BaseClient() as client:
                answers.append(client.get(f"{hub.url}/api/whoami-v2").status_code)

        api.hooks = type(api.hooks)([post])
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        commit(api)
        assert answers == [429]

    def test_every_copy_has_a_mark_of_its_own(self, api):
        import copy
        import pickle

        for twin in (copy.copy(api), copy.deepcopy(ThrottledHfApi()), pickle.loads(pickle.dumps(ThrottledHfApi()))):
            assert twin.headers[transport.MARK] != api.headers[transport.MARK]


class RecordingClient(BaseClient):
    """A user's client that records the names of the headers that it sends."""

    def __init__(self, sent: list) -> None:
        super().__init__()
        self.sent = sent

    def send(self, request, **kwargs):
        self.sent.append({name.lower() for name in request.headers})
        return super().send(request, **kwargs)


class PlainSubclass(BaseClient):
    pass


class TestClients:
    def test_a_client_that_huggingface_hub_makes_later_is_wrapped_as_well(self, api, hub, time):
        commit(api)
        with factory_set_to(PlainSubclass):
            hub.answer(429, headers={"Retry-After": "30"}, on="commit")
            commit(api, "b.txt")
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        commit(api, "c.txt")
        assert time.waits == [30, 30]

    @pytest.mark.parametrize("client", [PlainSubclass, lambda: RecordingClient([])], ids=["inherits", "overrides"])
    def test_a_client_of_the_user_retries_once_per_refusal(self, hub, time, events, client):
        with factory_set_to(client):
            api = ThrottledHfApi(endpoint=hub.url, token="hf_x", hooks=[events.append])
            hub.answer(429, headers={"Retry-After": "30"}, on="commit", times=2)
            commit(api)
        assert [event.retry for event in events] == [1, 2]
        assert seen(hub, "commit") == 3

    def test_a_thread_with_a_client_of_its_own_waits(self, api, hub, time):
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        thread = threading.Thread(target=commit, args=(api,))
        thread.start()
        thread.join(60)
        assert time.waits == [30]

    def test_commits_wait_with_a_client_that_has_no_send_method(self, hub, time, monkeypatch):
        real = get_session()

        class Bare:
            """A client that hides how it sends."""

            def __getattr__(self, name: str):
                if name == "send":
                    raise AttributeError(name)
                return getattr(real, name)

        plain_send = type(real).send
        while hasattr(plain_send, "_mat_vis_hub_wrapped"):
            plain_send = plain_send._mat_vis_hub_wrapped
        monkeypatch.setattr(real, "send", plain_send.__get__(real), raising=False)
        monkeypatch.setattr(transport, "get_session", Bare)
        assert not transport.install()
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(jitter=0), hooks=[])
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        commit(api)
        assert time.waits == [30]

    def test_a_send_attribute_that_is_not_a_method_is_not_wrapped(self, monkeypatch):
        monkeypatch.setattr(transport, "get_session", lambda: SimpleNamespace(send=lambda request: None))
        assert not transport.install()

    def test_a_client_is_wrapped_only_once(self, api):
        assert transport.install()
        before = type(get_session()).send
        for _ in range(3):
            assert transport.install()
        assert type(get_session()).send is before


class TestReplay:
    def test_a_file_that_changes_during_the_wait_is_committed_as_it_was(self, api, hub, time, events, tmp_path):
        path = tmp_path / "log.txt"
        path.write_text("step 1")
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        api.hooks = type(api.hooks)([lambda event: path.write_text("step 2")])
        commit(api, "log.txt", str(path))
        assert hub_content(hub, "log.txt") == b"step 1"
        assert seen(hub, "preupload") == 1

    def test_a_large_file_is_not_uploaded_again(self, api, hub, time):
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        commit(api, "big.bin", io.BytesIO(b"0" * 300_000))
        assert seen(hub, "commit") == 2
        assert seen(hub, "preupload") == 1

    @pytest.mark.parametrize(
        "body",
        ['"Too many requests"', "429", "null", "[]", '[{"error": "no"}]', b"\xff\xfe\x00", '{"error": 429}', ""],
        ids=repr,
    )
    def test_a_refusal_with_any_body_is_waited_out(self, api, hub, time, body):
        hub.answer(429, headers={"Retry-After": "30"}, body=body, on="commit")
        commit(api)
        assert time.waits == [30]

    @pytest.mark.parametrize(
        "headers", [{"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Content-Encoding": "deflate"}], ids=str
    )
    def test_a_refusal_whose_body_cannot_be_decoded_is_waited_out(self, api, hub, time, headers):
        hub.answer(429, headers={"Retry-After": "30", **headers}, body=b"\x1f\x8bnonsense", on="commit")
        commit(api)
        assert time.waits == [30]

    def test_a_refusal_whose_body_is_null_is_raised_as_an_hfhubhttperror(self, hub, time):
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(max_retries=0), hooks=[])
        hub.answer(429, body="null", on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == 429


class TestContention:
    LOCKED = "Another commit operation is in progress for this repository. Please try again later."

    def test_a_commit_that_meets_another_one_is_sent_again(self, api, hub, time, events):
        hub.answer(409, body={"error": self.LOCKED}, on="commit", times=2)
        commit(api)
        assert [event.reason for event in events] == [409, 409]
        assert max(time.waits) <= 8
        assert seen(hub, "preupload") == 1

    def test_any_other_conflict_is_raised_at_once(self, api, hub, time):
        hub.answer(409, body={"error": "Reference already exists"}, on="commit")
        with pytest.raises(HfHubHTTPError, match="Reference already exists"):
            commit(api)
        assert time.waits == []

    def test_a_conflict_whose_body_is_cut_off_raises_the_error_of_the_connection(self, api, hub):
        hub.truncate(on="create-repo")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each HTTP client has its own type
            api.create_repo(REPO)
        assert is_lost(caught.value)

    @pytest.mark.local_hub(speed=50)
    def test_threads_of_one_process_never_meet(self, api, hub):
        def work(number: int) -> None:
            for each in range(4):
                commit(api, f"{number}-{each}.txt", f"{number} {each}".encode())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(hub.commits) == 24
        assert hub.refusals == []


class TestGivingUp:
    def test_the_retries_of_huggingface_hub_do_not_try_again(self, hub, time, events):
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(max_retries=1), hooks=[events.append])
        hub.answer(429, headers={"Retry-After": "30"}, on="preupload", times=10)
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert seen(hub, "preupload") == 2
        assert [type(event) for event in events] == [ThrottleEvent, GaveUpEvent]

    def test_the_upload_pipeline_does_not_try_again_in_smaller_commits(self, hub, time, events, tmp_path):
        for number in range(60):
            (tmp_path / f"{number}.txt").write_text(str(number))
        hub.answer(429, headers={"Retry-After": "100000"}, on="commit", times=50)
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", hooks=[events.append])
        with api.everywhere(), pytest.raises(HfHubHTTPError):
            plain(hub).upload_folder(repo_id=REPO, folder_path=tmp_path)
        assert seen(hub, "commit") == 1
        assert [type(event) for event in events] == [GaveUpEvent]

    def test_a_new_call_is_sent_while_the_old_exception_is_handled(self, hub, time):
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(max_retries=0), hooks=[])
        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        try:
            commit(api)
        except HfHubHTTPError:
            time.advance(31)
            commit(api, "b.txt")
        assert [each.paths for each in hub.commits] == [("b.txt",)]


def hub_content(hub, path: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(f"{hub.url}/{REPO}/resolve/main/{path}") as response:
        return response.read()


def test_the_package_imports_no_transport():
    package = Path(mat_vis_hub.__file__).parent
    imports = re.compile(r"^\s*(?:import|from)\s+(requests|httpx2?|urllib3|aiohttp)\b", re.MULTILINE)
    for path in package.rglob("*.py"):
        assert not imports.search(path.read_text(encoding="utf-8")), path


def test_every_url_by_which_huggingface_hub_makes_a_commit_is_recognised():
    from mat_vis_hub._hub.routes import route_of

    posts = re.compile(r"""f["']\{[^"']*\}(/api/[^"']*/(?:commit/|merge)[^"']*)["']""")
    found = set()
    for path in Path(huggingface_hub.__file__).parent.rglob("*.py"):
        found |= set(posts.findall(path.read_text(encoding="utf-8")))
    assert found, "huggingface_hub builds the address of a commit in a way that this test does not see"
    values = {"repo_type": "model", "discussion_num": "3"}
    for template in found:
        address = re.sub(r"\{([^}]*)\}", lambda match: values.get(match[1], "you/textures"), template)
        address = address.replace("/commit/you/textures", "/commit/main")
        route = route_of("POST", f"https://huggingface.co{address}")
        assert route is not None
        assert (route.kind, route.about()[0].repo_id) == ("commit", "you/textures"), template
