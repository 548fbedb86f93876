"""Starting and stopping."""

import http.client
import socket
import subprocess
import sys
import threading
import time

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import HfApi

from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.testing import virtual_time


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"limit": -1}, "limit is -1; it is a whole number from 0 up, or None"),
        ({"limit": 1.5}, "limit is 1.5"),
        ({"limit": True}, "limit is True"),
        ({"window": 0}, "window is 0; it is a number of seconds above 0"),
        ({"window": float("nan")}, "window is nan"),
        ({"model": "leaky"}, "model is 'leaky'; it is one of 'fixed', 'sliding'"),
        ({"api_limit": -1}, "api_limit is -1"),
        ({"api_window": -5}, "api_window is -5"),
        ({"multipart_threshold": 0}, "multipart_threshold is 0"),
        ({"owners": "you"}, "owners is 'you'; it is a tuple"),
        ({"owners": ()}, "at least one namespace"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        LocalHub(**arguments)


def test_the_address_is_this_machine_only():
    with LocalHub() as hub:
        assert hub.url.startswith("http://127.0.0.1:")


def test_hubs_do_not_know_each_other():
    with LocalHub() as one, LocalHub() as two:
        assert one.url != two.url
        HfApi(endpoint=one.url, token="hf_local").create_repo("you/scratch")
        assert not HfApi(endpoint=two.url, token="hf_local").repo_exists("you/scratch")


def test_a_hub_can_be_started_again_and_starts_afresh():
    hub = LocalHub(limit=1)
    for _ in range(2):
        with hub:
            api = HfApi(endpoint=hub.url, token="hf_local")
            assert not api.repo_exists("you/scratch")
            api.create_repo("you/scratch")
            assert [seen.status for seen in hub.requests] == [404, 200]


def test_a_hub_runs_once_at_a_time():
    with LocalHub() as hub, pytest.raises(RuntimeError, match=f"runs already, at {hub.url}"):
        hub.start()


@pytest.mark.parametrize("use", [lambda hub: hub.url, lambda hub: hub.commits, lambda hub: hub.spend("you/x")])
def test_a_hub_that_does_not_run_says_what_to_do(use):
    with pytest.raises(RuntimeError, match="start it, or use it as a context manager"):
        use(LocalHub())


def test_a_hub_that_was_stopped_leaves_its_records_but_takes_no_orders():
    with LocalHub() as hub:
        pass
    hub.stop()
    assert hub.requests == []
    with pytest.raises(RuntimeError, match="does not run"):
        hub.answer(500)


def test_a_port_in_use_is_named():
    with LocalHub() as hub:
        port = int(hub.url.rpartition(":")[2])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port} .*: try another port, or port 0"):
            LocalHub(port=port).start()


def test_a_repo_type_that_is_none_cannot_be_spent():
    with LocalHub() as hub, pytest.raises(ValueError, match="repo_type is 'bucket'; it is one of 'model', 'dataset'"):
        hub.spend("you/x", repo_type="bucket")


def test_a_stop_waits_for_no_client():
    hub = LocalHub().start()
    address = hub.url.removeprefix("http://").split(":")
    idle = http.client.HTTPConnection(*address)
    idle.request("GET", "/api/whoami-v2")
    idle.getresponse().read()
    hub.delay(60, on="whoami")
    busy = http.client.HTTPConnection(*address, timeout=30)
    busy.request("GET", "/api/whoami-v2")
    sending = socket.create_connection((address[0], int(address[1])))
    sending.sendall(b"PUT /_lfs/" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    start = time.monotonic()
    hub.stop()
    assert time.monotonic() - start < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("local-hub")]
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        busy.getresponse()
    for client in (idle, busy, sending):
        client.close()


def test_nothing_is_printed_whatever_clients_do():
    program = """
import http.client, socket
from mat_vis_hub.local_hub import LocalHub
for _ in range(2):
    with LocalHub() as hub:
        host, port = hub.url[7:].split(":")
        hub.drop(on="whoami"); hub.drop(on="whoami", applied=True)
        for _ in range(2):
            connection = http.client.HTTPConnection(host, int(port))
            connection.request("GET", "/api/whoami-v2")
            try: connection.getresponse()
            except ConnectionError: pass
            else: raise SystemExit("an answer")
            connection.close()
        half = b"PUT /_lfs/" + b"0" * 64 + b" HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\nx"
        for sent in (b"nonsense\\r\\n\\r\\n", half):
            client = socket.create_connection((host, int(port)))
            client.sendall(sent)
            client.close()
        hub.delay(60)
        waiting = socket.create_connection((host, int(port)))
        waiting.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    waiting.close()
"""
    options = ["-W", "error"]  # not "-X dev": asyncio would then complain of a slow machine
    ran = subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_hub_tells_the_time_by_the_packages_clock(monkeypatch):
    with virtual_time() as time, LocalHub(limit=1) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        api = HfApi(endpoint=hub.url, token="hf_local")
        api.create_repo("you/scratch")
        hub.spend("you/scratch")
        time.advance(3600)
        api.create_commit("you/scratch", [Add("a", b"x")], commit_message="a new hour")
        assert len(hub.commits) == 1
