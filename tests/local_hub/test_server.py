"""The server: its address, its end, and what clients do to it."""

import http.client
import socket
import subprocess
import sys
import threading

import pytest

from mat_vis_hub.local_hub import LocalHub


def test_a_port_in_use_is_named():
    with LocalHub() as hub:
        port = int(hub.url.rpartition(":")[2])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port} .*: try another port, or port 0"):
            LocalHub(port=port).start()


def test_a_stop_does_not_wait_for_clients():
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
    hub.stop()  # waiting for a client would end in an answer, or not at all
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("local-hub")]
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        busy.getresponse()
    for client in (idle, busy, sending):
        client.close()


def test_nothing_is_printed_when_clients_misbehave():
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
    options = ["-W", "error"]  # not "-X dev", which makes asyncio log slow callbacks
    ran = subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
