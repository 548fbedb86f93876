"""What people use today, and `ThrottledHfApi`: ways to send one commit. Every job makes its own."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import stamina
import tenacity
import urllib3
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session, hf_raise_for_status, http_backoff

from benchmarks.simulation import REPO
from mat_vis_hub import RetryPolicy, ThrottledHfApi

Send = Callable[[str, int], Any]
"""Called with a job's name and the number of its commit. Sends it, or raises; the job has then died."""


@dataclass(frozen=True)
class Contender:
    name: str
    make: Callable[[], Send]
    ours: bool = False
    budget: bool = False
    one_process: bool = False  # whether its jobs are threads of one process


def operations(job: str, number: int) -> list[Any]:
    return [CommitOperationAdd(f"{job}/{number}.txt", b"texture")]


def by(api: HfApi, repo_id: str = REPO) -> Send:
    """Send commits with `create_commit`. Their message is the name of the job."""
    return lambda job, number: api.create_commit(repo_id, operations(job, number), commit_message=job)


def plain() -> Send:
    return by(HfApi(token="hf_x"))


def mat_vis() -> Send:
    """
    The helper of mat-vis: `Retry-After`, else "retry after N seconds" in the body, else exponential backoff.

    Every wait is clamped to 30..120 s, and there are five attempts.
    """
    send = plain()

    def wait(error: HfHubHTTPError, attempt: int) -> float:
        hint = error.response.headers.get("Retry-After")
        if hint is None and (found := re.search(r"retry after (\d+) seconds", str(error), re.IGNORECASE)):
            hint = found[1]
        seconds = float(hint) if hint and hint.isdigit() else 30.0 * 2**attempt
        return min(max(seconds, 30.0), 120.0)

    def commit(job: str, number: int) -> Any:
        for attempt in range(5):
            try:
                return send(job, number)
            except HfHubHTTPError as error:
                if error.response.status_code != 429 or attempt == 4:
                    raise
                time.sleep(wait(error, attempt))
        raise AssertionError("unreachable")

    return commit


def hub_backoff() -> Send:
    """huggingface_hub's own `http_backoff` around the commit's request, with its defaults."""

    def commit(job: str, number: int) -> Any:
        hf_raise_for_status(http_backoff("POST", URL, **request(job, number)))

    return commit


def tenacity_loop() -> Send:
    """As in its documentation: exponential waits from 4 to 60 s, ten attempts."""
    retry = tenacity.retry(
        retry=tenacity.retry_if_exception_type(HfHubHTTPError),
        wait=tenacity.wait_exponential(multiplier=1, min=4, max=60),
        stop=tenacity.stop_after_attempt(10),
        reraise=True,
    )
    return retry(plain())


def stamina_defaults() -> Send:
    """Ten attempts, at most 45 s in all."""
    return stamina.retry(on=HfHubHTTPError)(plain())


def urllib3_retry() -> Send:
    """`urllib3.util.Retry`, as sessions of requests use it. The Hub sends no `Retry-After` that it could respect."""

    def commit(job: str, number: int) -> Any:
        retry = urllib3.Retry(
            total=10, backoff_factor=1, status_forcelist=[429], allowed_methods=None, respect_retry_after_header=True
        )
        while True:
            answer = get_session().post(URL, **request(job, number))
            headers = urllib3.HTTPHeaderDict(answer.headers)
            response = urllib3.HTTPResponse(answer.content, headers, answer.status_code)
            if not retry.is_retry("POST", response.status, "Retry-After" in headers):
                return hf_raise_for_status(answer)
            retry = retry.increment("POST", URL, response)  # raises after the last attempt
            retry.sleep(response)

    return commit


def an_hour() -> Send:
    """A loop that many scripts have: `except HfHubHTTPError: time.sleep(3600)`."""
    send = plain()

    def commit(job: str, number: int) -> Any:
        while True:
            try:
                return send(job, number)
            except HfHubHTTPError:
                time.sleep(3600)

    return commit


def ours(budget: str | None = None, retry: RetryPolicy | None = None) -> Callable[[], Send]:
    return lambda: by(ThrottledHfApi(token="hf_x", budget=budget, retry=retry, hooks=[]))


def contenders(retry: RetryPolicy | None = None) -> Iterator[Contender]:
    """All of them, in the order of the table. `retry` is the policy of `ThrottledHfApi`, if not the default."""
    yield Contender("plain HfApi", plain)
    yield Contender("huggingface_hub http_backoff", hub_backoff)
    yield Contender("urllib3 Retry", urllib3_retry)
    yield Contender("stamina", stamina_defaults)
    yield Contender("tenacity loop", tenacity_loop)
    yield Contender("mat-vis helper", mat_vis)
    yield Contender("sleep an hour", an_hour)
    yield Contender("ThrottledHfApi, a process each", ours(retry=retry), ours=True)
    yield Contender("ThrottledHfApi, threads", ours(retry=retry), ours=True, one_process=True)
    yield Contender("ThrottledHfApi with a budget", ours("memory://", retry), ours=True, budget=True)


URL = f"https://huggingface.co/api/models/{REPO}/commit/main"


def request(job: str, number: int) -> dict[str, Any]:
    """The request of a commit as `create_commit` sends it, for those who retry the request alone."""
    (addition,) = operations(job, number)
    content = {"content": base64.b64encode(addition.path_or_fileobj).decode(), "encoding": "base64"}
    lines = [
        {"key": "header", "value": {"summary": job, "description": ""}},
        {"key": "file", "value": {"path": addition.path_in_repo, **content}},
    ]
    return {
        "content": "\n".join(map(json.dumps, lines)).encode(),
        "headers": {"Content-Type": "application/x-ndjson", "Authorization": "Bearer hf_x"},
    }
