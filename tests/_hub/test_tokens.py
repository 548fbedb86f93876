"""The token with which a request is sent, as huggingface_hub finds it."""

from __future__ import annotations

import pytest
from huggingface_hub.utils import LocalTokenNotFoundError, build_hf_headers, get_session

from mat_vis_hub._hub.tokens import resolved, sent_in


def test_one_that_is_given_is_used():
    assert resolved("hf_given") == "hf_given"


@pytest.mark.parametrize("token", [None, True])
def test_otherwise_it_is_the_one_of_the_environment(token, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    assert resolved(token) == "hf_environment"


def test_none_is_sent_if_there_is_none_or_none_is_wanted(monkeypatch):
    assert resolved(None) == ""
    with pytest.raises(LocalTokenNotFoundError):
        resolved(True)
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    assert resolved(False) == ""


def test_it_is_found_in_a_request_of_the_installed_client(local_hub):
    response = get_session().get(f"{local_hub.url}/api/whoami-v2", headers=build_hf_headers(token="hf_sent"))
    assert sent_in(response.request.headers) == "hf_sent"
    assert sent_in({}) == ""
