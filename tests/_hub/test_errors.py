"""What an exception or a response means, with the exceptions and responses of the installed HTTP client."""

from __future__ import annotations

import gzip
import os
import pickle
import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RevisionNotFoundError
from huggingface_hub.utils import get_session, hf_raise_for_status

from mat_vis_hub._hub.errors import (
    is_lost,
    is_of_no_commit,
    may_have_landed,
    raise_refusal,
    refusal_error,
    refused_response,
    status_of,
)
from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.retry_after import read_refusal

REPO = "you/textures"
COMMIT_URL = "https://hub/api/models/you/textures/commit/main"
UPLOAD_URL = "https://hub/api/models/you/textures/preupload/main"


class HttpError(Exception):
    """An exception that carries a response, as huggingface_hub's do."""

    def __init__(self, status: int, url: str = COMMIT_URL) -> None:
        super().__init__(f"{status} for url: {url}")
        self.response = SimpleNamespace(status_code=status, url=url, headers={}, text="")


class RetryError(Exception):
    """Stands for `requests.RetryError`, so that the test runs where requests is not installed."""

    def __init__(self, message: str, request: Any = None) -> None:
        super().__init__(message)
        self.request = request


def retries_exhausted(status: int, url: str = COMMIT_URL) -> RetryError:
    text = (
        "HTTPSConnectionPool(host='hub', port=443): Max retries exceeded with url: /api"
        f" (Caused by ResponseError('too many {status} error responses'))"
    )
    return RetryError(text, SimpleNamespace(url=url))


def raised_from(cause: BaseException, error: BaseException | None = None) -> BaseException:
    error = error or RuntimeError("Error while uploading 'a.bin' to the Hub.")
    error.__cause__ = cause
    return error


class TestStatus:
    def test_of_an_exception_with_a_response(self):
        assert status_of(HttpError(404)) == 404

    def test_of_the_exception_that_it_was_raised_from(self):
        assert status_of(raised_from(raised_from(HttpError(503)))) == 503

    def test_the_first_exception_with_a_response_decides(self):
        assert status_of(raised_from(HttpError(429), HttpError(403))) == 403

    def test_an_exception_whose_response_is_none_does_not_decide(self):
        outer = HttpError(200)
        outer.response = None
        assert status_of(outer) is None
        assert status_of(raised_from(HttpError(429), outer)) == 429

    def test_an_exception_that_was_merely_raised_earlier_does_not_count(self):
        later = ValueError()
        later.__context__ = HttpError(429)
        assert status_of(later) is None

    def test_a_circular_chain_ends(self):
        one, other = RuntimeError(), RuntimeError()
        one.__cause__, other.__cause__ = other, one
        assert status_of(one) is None

    def test_a_response_of_another_library_has_no_status(self):
        error = Exception()
        error.response = {"Error": {"Code": "429"}}  # botocore's
        assert status_of(error) is None

    @pytest.mark.parametrize("error", [None, ValueError("429"), OSError("reset"), KeyboardInterrupt()], ids=repr)
    def test_other_exceptions_have_none(self, error):
        assert status_of(error) is None

    def test_of_a_response_that_urllib3_discarded(self):
        assert status_of(retries_exhausted(503)) == 503


class TestRefusedResponse:
    def test_is_the_response_itself(self):
        error = HttpError(429)
        assert refused_response(error) is error.response
        assert refused_response(raised_from(error)) is error.response

    def test_a_response_that_is_false_is_still_a_response(self):
        class Falsy(SimpleNamespace):
            def __bool__(self) -> bool:
                return False  # requests' responses are false for every error status

        error = HttpError(429)
        error.response = Falsy(status_code=429)
        assert refused_response(error) is error.response

    @pytest.mark.parametrize("status", [400, 403, 409, 412, 500, 503])
    def test_other_statuses_are_no_refusal(self, status):
        assert refused_response(HttpError(status)) is None

    @pytest.mark.parametrize("wrap", [lambda error: error, raised_from], ids=["itself", "as a cause"])
    def test_a_session_with_retries_of_its_own_leaves_only_the_status(self, wrap):
        response = refused_response(wrap(retries_exhausted(429)))
        assert response is not None
        assert (response.status_code, response.headers, response.text) == (429, {}, "")

    def test_the_real_exception_of_requests(self, local_hub):
        requests: Any = pytest.importorskip("requests")
        retry: Any = pytest.importorskip("urllib3.util").Retry
        retries = retry(total=1, status_forcelist=[429], allowed_methods=None, respect_retry_after_header=False)
        session = requests.Session()
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
        local_hub.answer(429, on="commit", times=2)
        with session, pytest.raises(requests.exceptions.RetryError) as caught:
            session.post(f"{local_hub.url}/api/models/{REPO}/commit/main")
        response = refused_response(caught.value)
        assert response is not None
        assert response.url.endswith("/commit/main")
        assert not may_have_landed(caught.value)

    def test_a_message_alone_is_no_refusal(self):
        assert refused_response(ValueError("too many 429 error responses")) is None
        assert refused_response(RetryError("too many redirects")) is None


class TestMayHaveLanded:
    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_after_a_gateway_s_error_to_the_commit_itself(self, status):
        assert may_have_landed(HttpError(status)) is True
        assert may_have_landed(HttpError(status, UPLOAD_URL)) is False
        assert may_have_landed(retries_exhausted(status)) is True
        assert may_have_landed(retries_exhausted(status, UPLOAD_URL)) is False

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 429])
    def test_not_after_an_answer_of_the_hub(self, status):
        assert may_have_landed(HttpError(status)) is False
        assert may_have_landed(retries_exhausted(status)) is False

    @pytest.mark.parametrize("error", [ValueError(), OSError("no such file"), KeyboardInterrupt()], ids=repr)
    def test_not_after_an_error_of_this_machine(self, error):
        assert may_have_landed(error) is False

    def test_not_after_an_upload_that_failed(self):
        assert may_have_landed(raised_from(HttpError(503, UPLOAD_URL))) is False

    def test_after_a_transport_error_that_names_no_request(self):
        assert may_have_landed(RetryError("timed out", request=None)) is True

    @pytest.mark.parametrize(("on", "expected"), [("commit", True), ("preupload", False)])
    def test_after_a_dropped_connection_if_it_was_the_commit_s(self, local_hub, monkeypatch, on, expected):
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub's own pauses
        api = HfApi(endpoint=local_hub.url, token="hf_x")
        api.create_repo(REPO)
        local_hub.drop(on=on, times=20)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each HTTP client has its own type
            api.create_commit(REPO, [CommitOperationAdd("a.txt", b"a")], commit_message="m")
        assert may_have_landed(caught.value) is expected


class TestIsLost:
    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_after_an_error_of_a_gateway_or_an_overloaded_server(self, status):
        assert is_lost(HttpError(status))
        assert is_lost(retries_exhausted(status))

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 412, 413, 429, 501])
    def test_not_after_any_other_answer(self, status):
        assert not is_lost(HttpError(status))

    @pytest.mark.parametrize("how", ["drop", "cut off", "nobody there", "too late", "no JSON"])
    def test_after_a_connection_that_broke(self, local_hub, how):
        url, options = f"{local_hub.url}/api/whoami-v2", {}
        if how == "drop":
            local_hub.drop()
        elif how == "cut off":
            local_hub.truncate()
        elif how == "nobody there":
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                url = f"http://127.0.0.1:{unused.getsockname()[1]}/api/whoami-v2"
        elif how == "too late":
            local_hub.delay(0.5)
            options = {"timeout": 0.01}
        else:
            local_hub.answer(200, body="<html>")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each HTTP client has its own type
            get_session().get(url, **options).json()
        assert is_lost(caught.value)

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "nonsense"])
    def test_not_after_an_invalid_address(self, url):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each HTTP client has its own type
            get_session().get(url)
        assert not is_lost(caught.value)

    def test_not_after_an_invalid_certificate(self):
        certificate = type("SSLCertVerificationError", (OSError,), {})()
        assert not is_lost(raised_from(certificate, ConnectionError("certificate verify failed")))
        assert is_lost(ConnectionError("reset by peer"))

    def test_not_in_offline_mode(self):
        assert not is_lost(OfflineModeIsEnabled("offline"))

    @pytest.mark.parametrize("error", [ValueError(), OSError("no such file"), KeyboardInterrupt()], ids=repr)
    def test_not_after_an_error_of_this_machine(self, error):
        assert not is_lost(error)


class TestIsOfNoCommit:
    def test_only_if_the_address_says_so(self):
        assert is_of_no_commit(HttpError(503, UPLOAD_URL))
        assert not is_of_no_commit(HttpError(503, COMMIT_URL))
        assert not is_of_no_commit(HttpError(503, ""))
        assert is_of_no_commit(RetryError("timed out", SimpleNamespace(url=UPLOAD_URL)))
        assert not is_of_no_commit(RetryError("timed out", SimpleNamespace(url=COMMIT_URL)))
        assert not is_of_no_commit(RetryError("timed out"))
        assert not is_of_no_commit(ConnectionError())


@pytest.fixture(scope="module")
def hub():
    with LocalHub(api_limit=None) as hub:
        yield hub


def refused_commit(hub: LocalHub, status: int = 429, **answer: Any) -> Any:
    """The response to a commit that the Hub refuses."""
    hub.answer(status, on="commit", **answer)
    session: Any = get_session()
    return session.post(f"{hub.url}/api/models/{REPO}/commit/main", headers={"authorization": "Bearer hf_x"})


def unread_response(answer: bytes) -> Any:
    """The response to a commit, its body not read yet, from a server that sends exactly these bytes."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/models/{REPO}/commit/main"

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(answer)
        connection.close()
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client: Any = get_session()
    if hasattr(client, "build_request"):
        response = client.send(client.build_request("POST", url), stream=True)
    else:
        response = client.post(url, stream=True)
    thread.join()
    return response


def raised_by_huggingface_hub(response: Any) -> BaseException:
    try:
        hf_raise_for_status(response)
    except Exception as error:
        return error
    raise AssertionError("it raises nothing")


WELL_FORMED = {
    "object": {"body": {"error": "Slow down."}},
    "text": {"body": "Slow down."},
    "html": {"body": "<html>", "headers": {"Content-Type": "text/html"}},
    "empty": {"body": ""},
    "ratelimit": {"body": "", "headers": {"RateLimit": '"api";r=0;t=55'}},
    "request-id": {"body": "", "headers": {"X-Request-Id": "Root=1"}},
}
MALFORMED = {
    "string": b'"Too many requests"',
    "number": b"429",
    "null": b"null",
    "list": b"[]",
    "list-of-numbers": b'{"errors": [1]}',
    "long-number": b'{"error": ' + b"1" * 5000 + b"}",
    "deep": b"[" * 65_536,
    "latin-1": b"caf\xe9",
    "latin-1-in-json": b'{"error": "caf\xe9"}',
}
HEAD = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nConnection: close\r\n"
UNREADABLE = {
    "cut-off": HEAD + b"Content-Length: 100\r\n\r\nSlow",
    "not-gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "half-gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 15\r\n\r\n" + gzip.compress(os.urandom(99))[:15],
    "not-deflate": HEAD + b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\nhello",
}


class TestRefusalError:
    @pytest.mark.parametrize("answer", WELL_FORMED.values(), ids=WELL_FORMED)
    def test_is_what_huggingface_hub_raises(self, hub, answer):
        response = refused_commit(hub, **answer)
        expected, error = raised_by_huggingface_hub(response), refusal_error(response)
        assert (type(error), str(error)) == (type(expected), str(expected))
        assert (error.server_message, error.request_id) == (expected.server_message, expected.request_id)
        assert error.response is response
        assert type(error.__cause__) is type(expected.__cause__)

    def test_also_for_other_statuses(self, hub):
        response = refused_commit(hub, 404, headers={"X-Error-Code": "RevisionNotFound"})
        assert isinstance(refusal_error(response), RevisionNotFoundError)

    @pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
    def test_a_body_that_huggingface_hub_cannot_format(self, hub, body):
        response = refused_commit(hub, body=body, headers={"Retry-After": "5", "X-Request-Id": "Root=1"})
        error = refusal_error(response)
        assert type(error) is HfHubHTTPError
        assert "429" in str(error)
        assert error.response is refused_response(error) is response
        assert error.request_id == "Root=1"
        assert error.server_message
        assert len(str(error)) < 2000 or isinstance(raised_by_huggingface_hub(response), HfHubHTTPError)

    @pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
    def test_a_body_that_cannot_be_read(self, answer):
        response = unread_response(answer)
        error = refusal_error(response)
        assert type(error) is HfHubHTTPError
        assert str(error).strip().startswith("429")
        assert REPO in str(error)
        assert error.response is response
        assert response.headers["retry-after"] == "5"

    def test_the_formatter_of_huggingface_hub_still_fails_on_some_bodies(self, hub):
        """Once it does not, on any generation, the fallback can go."""
        error = raised_by_huggingface_hub(refused_commit(hub, body=MALFORMED["string"]))
        assert not isinstance(error, HfHubHTTPError)

    def test_it_pickles(self, hub):
        error = pickle.loads(pickle.dumps(refusal_error(refused_commit(hub, body=b"null"))))
        assert status_of(error) == 429
        assert "null" in str(error)

    def test_a_success_is_no_refusal(self, hub):
        response = refused_commit(hub, 200)
        with pytest.raises(ValueError, match="200 OK is not an error"):
            refusal_error(response)

    def test_it_is_raised(self, hub):
        response = refused_commit(hub, body=b"[]")
        with pytest.raises(HfHubHTTPError, match="429 Too Many Requests") as caught:
            raise_refusal(response)
        assert caught.value.response is response


class TestXet:
    TOKEN = "https://huggingface.co/api/models/you/model/xet-write-token/main"
    SAID = "Rate limited: Request error: HTTP status client error (429 Too Many Requests), domain: {}"

    def test_a_refused_token_is_a_refusal_by_the_api_bucket(self):
        response = refused_response(ConnectionError(self.SAID.format(self.TOKEN)))
        assert response is not None
        assert (response.status_code, response.url) == (429, self.TOKEN)
        refusal = read_refusal(response)
        assert (refusal.limiter, refusal.retry_after, refusal.floor) == ("api", None, 0)

    def test_a_refusal_by_the_storage_is_none_of_the_api_bucket(self):
        response = refused_response(RuntimeError(self.SAID.format("https://cas-server.xethub.hf.co/xorbs/1")))
        assert response is not None
        assert read_refusal(response).limiter == "unknown"

    @pytest.mark.parametrize(
        "error",
        [
            ConnectionError("Connection reset by peer"),
            ConnectionError("Request error: HTTP status server error (503 Service Unavailable), domain: https://x/y"),
            ValueError(SAID.format(TOKEN)),
        ],
        ids=repr,
    )
    def test_any_other_error_is_none(self, error):
        assert refused_response(error) is None
