"""What a budget's URL says, and what is said of one that makes no sense."""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from mat_vis_hub.budget import LIMIT, WINDOW, BudgetError, Repository, from_url
from mat_vis_hub.budget.url import without_password
from tests.budget.conftest import REPOSITORY as HERE
from tests.budget.servers import free_port


@pytest.mark.parametrize(
    ("query", "limit", "window"),
    [("", LIMIT, WINDOW), ("?limit=256", 256, WINDOW), ("?window=1.5", LIMIT, 1.5), ("?limit=8&window=6", 8, 6)],
)
def test_the_query_sets_the_quota(time, query, limit, window):
    status = from_url(f"memory://{query}").status(HERE)
    assert (status.limit, status.window) == (limit, window)


def test_four_slashes_are_an_absolute_path_and_three_a_relative_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    absolute, relative = from_url(f"sqlite:///{tmp_path}/a%20b.db"), from_url("sqlite:///c.db")
    assert {"a b.db", "c.db"} <= set(os.listdir(tmp_path))
    monkeypatch.chdir("/")  # it stays the same file, wherever its process goes
    for budget in (absolute, relative):
        budget.reserve(HERE)
        budget.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://h/db", "unknown scheme"),
        ("budget.db", "unknown scheme"),
        ("memory://?limit=0", "limit='0' must be a whole number"),
        ("memory://?limit=1.5", "limit='1.5'"),
        ("memory://?limit=", "limit=''"),
        ("memory://?window=0", "window='0' must be a number of seconds"),
        ("memory://?window=inf", "window='inf'"),
        ("memory://?window=soon", "window='soon'"),
        ("memory://?limits=3", "limits is unknown; there are limit, window, seed"),
        ("memory://?seed=yes", "must be seed=hub"),
        ("memory://host", "names a place"),
        ("sqlite://relative.db", "sqlite:////absolute/path"),
        ("sqlite://", "names no file"),
        ("redis://cache:port", "makes no sense"),
    ],
)
def test_one_that_makes_no_sense_is_named_with_what_to_write_instead(url, says):
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        from_url(url)
    assert url in str(caught.value)


def test_what_is_no_text_is_no_url():
    with pytest.raises(TypeError, match="named by a URL"):
        from_url(128)


SECRET = "p%40ss/w:rd"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:{{port}}/0",
        f"redis://user:{SECRET}@127.0.0.1:{{port}}/0?limit=3",
        f"redis://user:{SECRET}@127.0.0.1:no",
        f"redis://127.0.0.1:{{port}}/0?password={SECRET}",
        f"postgresql://me:{SECRET}@127.0.0.1:{{port}}/budget",
        f"postgresql://me@127.0.0.1:{{port}}/budget?password={SECRET}",
        "redis://:p%zz@127.0.0.1:{port}/0",
        "postgresql://me:p%zz@127.0.0.1:{port}/budget",
        f"mysql://me:{SECRET}@h/db?limit=x",
        f"redis://me:{SECRET}@h/0?limit=x",
    ],
)
def test_no_error_and_no_repr_names_the_password(url):
    url = url.format(port=free_port())
    with pytest.raises((BudgetError, ValueError)) as caught:
        from_url(url)
    text = str(caught.value)
    assert "***" in text
    assert not any(part in text for part in (SECRET, "p@ss", "ss/w", "rd@", "zz"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0?limit=3", "redis://:***@h:1/0?limit=3"),
        ("redis://me:a@b@h", "redis://me:***@h"),
        ("redis://me@h", "redis://me@h"),
        ("redis://h?sslpassword=x&a=b", "redis://h?sslpassword=***&a=b"),
        ("sqlite:////home/a:b@c/budget.db", "sqlite:////home/a:b@c/budget.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown


def test_a_seed_counts_what_the_history_has_already(local_hub, time):
    api = HfApi(endpoint=local_hub.url, token="hf_local")
    api.create_repo("you/textures")
    for name in "abc":
        operations = [CommitOperationAdd(name, b"")]
        api.create_commit("you/textures", operations, commit_message="Add a file")
    budget = from_url("memory://?limit=4&seed=hub", read=lambda repository: api)
    repository = Repository(local_hub.url, "model", "you/textures")
    assert budget.status(repository).used == 3
    assert [budget.reserve(repository).wait > 0 for _ in range(2)] == [False, True]


def test_the_history_itself_can_be_the_count(time):
    assert type(from_url("hub://?limit=256")).__name__ == "HubBudget"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "postgresql"])
def test_a_server_that_is_not_there_is_one_clear_error_at_once(scheme):
    url = f"{scheme}://127.0.0.1:{free_port()}/0"
    with pytest.raises(BudgetError, match=f"The budget {url} cannot be used: .*Is the .* server running"):
        from_url(url)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("memory://", "pyrate_limiter"),
        ("sqlite:///b.db", "pyrate_limiter"),
        ("redis://h", "redis"),
        ("postgresql://h/d", "psycopg"),
    ],
)
def test_a_missing_driver_is_one_sentence_that_says_what_to_install(url, driver, monkeypatch):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == driver:
            raise ModuleNotFoundError(f"No module named {driver!r}", name=driver)
        return plain(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.startswith("mat_vis_hub.budget.")]:
        if name.rpartition(".")[2] in ("memory", "sqlite", "redis", "postgres", "counted"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=re.escape('pip install "mat-vis-hub[budget]"')) as caught:
        from_url(url)
    assert url in str(caught.value)


def test_no_driver_loads_before_a_budget_needs_it():
    code = (
        "import sys, mat_vis_hub; from mat_vis_hub.budget import from_url; mat_vis_hub.ThrottledHfApi\n"
        "drivers = {'pyrate_limiter', 'redis', 'psycopg'}; print(drivers & set(sys.modules))\n"
        "from_url('memory://'); print(drivers & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["set()", "{'pyrate_limiter'}"]
