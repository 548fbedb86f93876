"""What a budget's URL says, what is said of one that makes no sense, and that nobody ever sees its credentials."""

from __future__ import annotations

import builtins
import logging
import os
import pickle
import re
import subprocess
import sys
import traceback

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from mat_vis_hub.budget import (
    LIMIT,
    WINDOW,
    BudgetError,
    CommitBudget,
    FailOpenBudget,
    Repository,
    as_budget,
    from_url,
)
from mat_vis_hub.budget.memory import MemoryBudget
from tests.budget.conftest import REPOSITORY as HERE
from tests.budget.servers import free_port


def needs_driver(url: str) -> None:
    for scheme, driver in (("redis", "redis"), ("postgres", "psycopg")):
        if url.strip().startswith(scheme):
            pytest.importorskip(driver, reason="the driver is not installed")


@pytest.mark.parametrize(
    ("query", "limit", "window"),
    [("", LIMIT, WINDOW), ("?limit=256", 256, WINDOW), ("?window=1.5", LIMIT, 1.5), ("?limit=8&window=6", 8, 6)],
)
def test_the_query_sets_the_quota(time, query, limit, window):
    status = from_url(f"memory://{query}").status(HERE)
    assert (status.limit, status.window) == (limit, window)


def test_four_slashes_are_an_absolute_path_and_three_a_relative_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    absolute, relative = from_url(f"sqlite:///{tmp_path}/a%20b@c#d.db"), from_url("sqlite:///c.db")
    monkeypatch.chdir("/")  # it stays the same file, wherever its process goes
    for budget in (absolute, relative):
        budget.reserve(HERE)
        budget.close()
    assert {"a b@c#d.db", "c.db"} <= set(os.listdir(tmp_path))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://h/db", "unknown scheme mysql. Known are memory://"),
        ("budget.db", "unknown scheme. Known are memory://"),
        ("memory://?limit=0", "memory://?limit=0: limit='0' must be a whole number"),
        ("memory://?limit=1.5", "limit='1.5'"),
        ("memory://?limit=", "limit=''"),
        ("memory://?window=0", "window='0' must be a number of seconds"),
        ("memory://?window=inf", "window='inf'"),
        ("memory://?window=soon", "window='soon'"),
        ("memory://?limits=3", "limits is unknown. Known are limit, window, scope, seed, strict"),
        ("memory://?seed=yes", "seed='yes' must be hub, or left out"),
        ("memory://?scope=user", "scope='user' must be repo or owner or token, or left out"),
        ("redis://:hunter2@cache?scope=", "redis://***@cache?scope=: scope='' must be repo or owner or token"),
        ("hub://?scope=owner", "hub:// cannot count with scope=owner, since it reads the history of one repository"),
        ("hub://?scope=token", "Use another budget, such as sqlite:////absolute/path?scope=token."),
        ("memory://?seed=hub&scope=owner", "seed=hub cannot count with scope=owner"),
        ("memory://?strict=maybe", "strict='maybe' must be 0 or 1, or left out"),
        ("memory://host", "names a host"),
        ("sqlite://relative.db", "sqlite:////absolute/path"),
        ("redis://cache:port", "makes no sense"),
        ("redis://cache?nonsense=1", "its driver does not accept the parameters"),
        ("redis://cache?socket_timeout=soon", "its driver does not accept the parameters"),
        ("postgresql://cache/b?nonsense=1", "its driver does not accept the parameters"),
    ],
)
def test_one_that_makes_no_sense_is_an_error_that_says_what_to_write(url, says):
    needs_driver(url)
    with pytest.raises(ValueError, match=re.escape(says)):
        from_url(url)


@pytest.mark.parametrize(
    "scheme", ["memory://", "sqlite:///b.db", "rediss://cache/0", "postgresql://cache/b", "hub://"]
)
def test_every_budget_takes_the_scope_that_is_the_default(scheme):
    needs_driver(scheme)
    from_url(f"{scheme}?scope=repo")


@pytest.mark.parametrize(
    "scheme", ["memory://", "sqlite:///b.db", "redis://cache/0", "rediss://cache", "postgres://c/b"]
)
@pytest.mark.parametrize("scope", ["owner", "token"])
def test_every_stored_budget_takes_a_wider_scope(scheme, scope):
    needs_driver(scheme)
    key = from_url(f"{scheme}?scope={scope}&limit=3").with_token("hf_x").wider_quota(HERE)
    assert key.startswith(f"https://huggingface.co/{scope}s/")


class Own:
    """A budget of a user's own."""

    def __getattr__(self, name):
        if name in ("reserve", "renew", "confirm", "cancel", "refused", "status", "close"):
            return lambda *args: None
        raise AttributeError(name)


class TestAsBudget:
    @pytest.mark.parametrize("value", [128, 3, 0, True, 1.5, b"memory://", object(), MemoryBudget, CommitBudget, []])
    def test_what_is_no_budget_is_an_error_that_says_what_one_is(self, value):
        with pytest.raises(TypeError, match='A budget is a URL such as "memory://'):
            as_budget(value)

    def test_error_names_the_kind_and_not_the_value(self):
        with pytest.raises(TypeError, match="not a Secret") as caught:
            as_budget(type("Secret", (), {"__repr__": lambda self: "hunter2"})())
        assert "hunter2" not in str(caught.value)

    def test_budgets_and_urls_are_made_to_fail_open_and_none_is_none(self):
        assert as_budget(None) is None
        assert isinstance(guarded := as_budget(Own()), FailOpenBudget)
        assert as_budget(guarded) is guarded
        assert as_budget("memory://?limit=7").status(HERE).limit == 7

    def test_from_url_takes_urls_only(self):
        with pytest.raises(TypeError, match="not an int"):
            from_url(128)


PASSWORDS = [
    "hunter2/x8k",
    "hunter2#x8k",
    "hunter2?x8k",
    "hunter2@x8k",
    "hunter2%zzx8k",
    "hunter2%2Fx8k",
    "hunter2=x8k:y",
]
SECRETS = ("hunter2", "x8k", "hf_secret", "sekret")  # parts of them


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def everything(error: BaseException | None) -> str:
    """All that can be shown of an error and of those that it was raised from or during."""
    text = []
    while error is not None:
        text += [str(error), repr(error), *map(str, getattr(error, "__notes__", []))]
        text += traceback.format_exception_only(type(error), error)
        error = error.__cause__ or error.__context__
    return "\n".join(text)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "template",
    [
        "redis://:{}@127.0.0.1:{{port}}/0",
        "redis://hf_secret:{}@127.0.0.1:{{port}}/0?limit=3",
        "rediss://hf_secret:{}@127.0.0.1:{{port}}",
        "redis://hf_secret:{}@127.0.0.1:no",
        "redis://{}:hf_secret@127.0.0.1:{{port}}?socket_timeout=x",
        "redis://hf_secret:{}@127.0.0.1:{{port}}?limit=x",
        "postgresql://hf_secret:{}@127.0.0.1:{{port}}/budget",
        "postgresql://hf_secret:{}@127.0.0.1:{{port}}/budget?nonsense=1",
        "postgres://hf_secret:{}@127.0.0.1:{{port}}/budget?sslpassword=sekret",
        "mysql://hf_secret:{}@h/db",
        "hf_secret:{}@h/db",
        "{}",
        "memory://:{}@x",
        "sqlite://hf_secret:{}@h/x",
        "hub://hf_secret:{}@h/x",
        " redis://:{}@127.0.0.1:{{port}}/0 ",
        "redis://:hunter2\n{}@127.0.0.1:{{port}}/0",
    ],
)
def test_no_error_repr_or_log_contains_credentials(template, password, time, caplog):
    needs_driver(template)
    caplog.set_level(logging.DEBUG)
    url = template.format(password).replace("{port}", str(free_port()))
    try:
        budget = as_budget(url)
        assert not leaks(repr(budget))
        with pytest.raises(BudgetError) as caught:
            budget.status(HERE)
    except (BudgetError, ValueError) as error:
        caught = error
    else:
        caught = caught.value
    assert not leaks(everything(caught))
    assert not leaks(caplog.text)


@pytest.mark.parametrize(
    "url",
    [
        "redis://hf_secret@127.0.0.1:{port}/0",  # a token in the user's place
        "redis://127.0.0.1:{port}/0?password=hunter2",
        "redis://127.0.0.1:{port}/0?password=hunter2@x8k",
        "rediss://127.0.0.1:{port}/0?ssl_password=hunter2",
        "postgresql://127.0.0.1:{port}/budget?user=hf_secret&password=hunter2",
        "postgresql://hf_secret@127.0.0.1:{port}/budget",
        "postgresql:///budget?host=/nowhere&password=hunter2",
    ],
)
def test_credentials_in_other_places_are_not_shown_either(url):
    needs_driver(url)
    budget = from_url(url.replace("{port}", str(free_port())))
    assert not leaks(repr(budget))
    with pytest.raises(BudgetError) as caught:
        budget.reserve(HERE)
    assert not leaks(everything(caught.value))


@pytest.mark.parametrize("password", PASSWORDS)
def test_such_a_password_works_where_the_driver_can_take_it(password, redis_server):
    redis = pytest.importorskip("redis")
    meant = password.replace("%2F", "/")
    url = redis_server.url.replace("redis://", f"redis://hf_secret:{password}@")
    with redis.Redis.from_url(redis_server.url) as client:
        client.acl_setuser("hf_secret", enabled=True, passwords=[f"+{meant}"], keys=["*"], commands=["+@all"])
        try:
            with from_url(url) as budget, pickle.loads(pickle.dumps(budget)) as twin:
                repository = HERE._replace(repo_id=f"you/{password}")
                assert budget.reserve(repository).used + twin.reserve(repository).used == 1
            with pytest.raises(BudgetError) as caught:
                from_url(url.replace(password, password + "x")).reserve(HERE)
            assert not leaks(everything(caught.value))
        finally:
            client.acl_deluser("hf_secret")


@pytest.mark.parametrize("password", PASSWORDS)
def test_such_a_password_reaches_postgres_as_it_was_meant(password):
    psycopg = pytest.importorskip("psycopg")
    budget = from_url(f"postgresql://me:{password}@cache:5432,other/budget?limit=3&options=-c%20TimeZone%3DAsia/Tokyo")
    made = psycopg.conninfo.conninfo_to_dict(budget._connection._connect.args[0])
    assert made["password"] == password.replace("%2F", "/")
    assert (made["user"], made["host"], made["dbname"]) == ("me", "cache,other", "budget")
    assert made["options"] == "-c TimeZone=Asia/Tokyo"


def test_what_libpq_says_is_shown_without_credentials(postgres_url):
    url = postgres_url.replace("postgres@", "hf_secret:hunter2@")
    with pytest.raises(BudgetError, match=r'role "\*\*\*" does not exist') as caught:
        from_url(url).reserve(HERE)
    assert not leaks(everything(caught.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0?limit=3", "redis://***@h:1/0?limit=3"),
        ("redis://me:a@b@h", "redis://***@h"),
        ("redis://me@h", "redis://***@h"),
        ("redis://h?db=1&limit=4", "redis://h?limit=4&db=***"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("REDIS://h", "redis://h"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url, shown):
    needs_driver("redis")
    assert repr(from_url(url)) == f"RedisBudget({shown!r})"


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
def test_a_server_that_is_down_is_one_clear_error(scheme):
    needs_driver(scheme)
    url = f"{scheme}://127.0.0.1:{free_port()}/0"
    with pytest.raises(BudgetError, match=f"The budget {url} cannot be used: .*Is the .* server running"):
        from_url(url).reserve(HERE)


@pytest.mark.parametrize(
    ("url", "driver", "extra"), [("redis://h", "redis", "redis"), ("postgresql://h/d", "psycopg", "postgres")]
)
def test_a_missing_driver_is_one_sentence_that_says_what_to_install(url, driver, extra, monkeypatch):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == driver:
            raise ModuleNotFoundError(f"No module named {driver!r}", name=driver)
        return plain(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, f"mat_vis_hub.budget.{extra}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=re.escape(f'pip install "mat-vis-hub[{extra}]"')) as caught:
        from_url(url)
    assert url in str(caught.value)


def test_no_driver_is_loaded_before_a_budget_needs_it():
    code = (
        "import sys; from huggingface_hub import HfApi\n"
        "before = set(sys.modules)  # on some Pythons huggingface_hub loads sqlite3\n"
        "import mat_vis_hub; from mat_vis_hub.budget import from_url; mat_vis_hub.ThrottledHfApi\n"
        "from_url('memory://')\n"
        "print({'redis', 'psycopg', 'sqlite3'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["set()"]
