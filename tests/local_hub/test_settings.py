"""The arguments of `LocalHub`."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from mat_vis_hub.local_hub import LocalHub


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"limit": -1}, "limit is -1; it is a whole number, 0 or more, or None for no limit"),
        ({"limit": 1.5}, "limit is 1.5"),
        ({"limit": True}, "limit is True"),
        ({"window": 0}, "window is 0; it is a number of seconds above 0"),
        ({"window": float("nan")}, "window is nan"),
        ({"window": float("inf")}, "window is inf"),
        ({"window": "6"}, "window is '6'"),
        ({"model": "leaky"}, "model is 'leaky'; it is one of 'fixed', 'sliding'"),
        ({"api_limit": -1}, "api_limit is -1"),
        ({"api_window": -5}, "api_window is -5"),
        ({"resolvers_limit": 0.5}, "resolvers_limit is 0.5; it is a whole number, 0 or more, or None for no limit"),
        ({"quota_scope": "user"}, "quota_scope is 'user'; it is one of 'repo', 'owner', 'token'"),
        ({"wording": "loud"}, "wording is 'loud'; it is one of 'distance', 'strict', 'window', 'hourly'"),
        ({"retry_after": 1}, "retry_after is 1; it is True or False"),
        ({"include_seconds": "no"}, "include_seconds is 'no'"),
        ({"pages_limit": -1}, "pages_limit is -1"),
        ({"whoami_limit": True}, "whoami_limit is True"),
        ({"creation_limit": 1.5}, "creation_limit is 1.5"),
        ({"creation_window": 0}, "creation_window is 0; it is a number of seconds above 0"),
        ({"pull_request_limit": "10"}, "pull_request_limit is '10'"),
        ({"discussion_limit": -1}, "discussion_limit is -1"),
        ({"port": 99999}, "port is 99999; it is a whole number from 0 to 65535"),
        ({"port": -1}, "port is -1"),
        ({"multipart_threshold": 0}, "multipart_threshold is 0"),
        ({"owners": "you"}, "owners is 'you'; it is a tuple"),
        ({"owners": ()}, "at least one namespace"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_at_once(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        LocalHub(**arguments)


def test_a_token_is_in_no_repr():
    hub = LocalHub(token="hf_secret")
    assert "hf_secret" not in repr(vars(hub))


def test_the_document_has_every_knob_with_its_default():
    document = (Path(__file__).parents[2] / "docs" / "local-hub.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", document, flags=re.M))
    elsewhere = {"path", "clock", "host", "port", "token", "owners", "multipart_threshold"}
    parameters = inspect.signature(LocalHub).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.name not in elsewhere}
    assert {name: ast.literal_eval(value) for name, value in rows.items()} == defaults
