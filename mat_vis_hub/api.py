"""ThrottledHfApi: the constructor, and `create_commit`, through which nearly all roads to a commit lead."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from huggingface_hub import HfApi

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal.sanitize import without_secrets
from mat_vis_hub.budget.fail_open import FailOpenBudget
from mat_vis_hub.budget.protocol import BudgetStatus, CommitBudget
from mat_vis_hub.hooks import Hook, Hooks
from mat_vis_hub.policy import RetryPolicy
from mat_vis_hub.surface import surfacing
from mat_vis_hub.throttle import Target, Throttle

if TYPE_CHECKING:  # the rest loads with the method that needs it, so that the import costs next to nothing
    from huggingface_hub import CommitInfo, CommitOperationAdd

    from mat_vis_hub.commits.batch import CommitBatch
    from mat_vis_hub.commits.transaction import Snapshot

R = TypeVar("R")

_BACKGROUND = threading.Lock()  # one for all objects: it is held for an instant, and objects have to pickle


class ThrottledHfApi(HfApi):
    """
    An [`HfApi`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api) whose commits wait out HTTP 429.

    Swap the constructor; every method stays what it is. A refused commit is read for how long to wait, told to the
    hooks, and tried again; all else passes through untouched. While a repository refuses, every writer of this process
    waits for the same moment instead of being refused on its own.

    Args:
        endpoint, token, library_name, library_version, user_agent, headers (*optional*):
            As in `HfApi`.
        source (`str`, *optional*, defaults to `"unknown"`):
            Who is writing, for attribution in the log.
        retry (`RetryPolicy`, *optional*):
            How long to wait, how often, and when to give up. Defaults to `RetryPolicy()`: five retries and two hours.
        budget (`str` or `CommitBudget`, *optional*):
            Where the commits of all writers are counted, so that each goes when there is room: a URL such as
            `"memory://"`, `"sqlite:////var/lib/bake/budget.db"`, `"redis://cache:6379/0"`, `"postgresql://..."` or
            `"hub://"`, see [`from_url`]. Defaults to the environment variable `MAT_VIS_HUB_BUDGET`, else to none:
            then only refusals tell.
        hooks (`Iterable` of `Callable`, *optional*):
            Each is called with every [`Event`]. Defaults to [`print_line`] alone: one line on standard output.

    Raises:
        [`TypeError`](https://docs.python.org/3/library/exceptions.html#TypeError),
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If an argument makes no sense; the message names it.

    Example:
    ```python
    >>> from mat_vis_hub import RetryPolicy, ThrottledHfApi
    >>> api = ThrottledHfApi(source="ambientcg", retry=RetryPolicy(max_retries=10))
    >>> api.source
    'ambientcg'

    ```
    """

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | bool | None = None,
        library_name: str | None = None,
        library_version: str | None = None,
        user_agent: dict[str, Any] | str | None = None,
        headers: dict[str, str] | None = None,
        *,
        source: str = "unknown",
        retry: RetryPolicy | None = None,
        budget: str | CommitBudget | None = None,
        hooks: Iterable[Hook] | None = None,
    ) -> None:
        super().__init__(
            endpoint=endpoint,
            token=token,
            library_name=library_name,
            library_version=library_version,
            user_agent=user_agent,
            headers=headers,
        )
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise TypeError(f"retry={retry!r}: retry must be a RetryPolicy, as in retry=RetryPolicy(max_retries=10).")
        self.source = _checked_source(source)
        self.retry = retry if retry is not None else RetryPolicy()
        self._hooks = Hooks(hooks)
        self._budget = self._guarded(budget if budget is not None else os.environ.get("MAT_VIS_HUB_BUDGET") or None)
        self._background: _Background | None = None

    def create_commit(  # type: ignore[override]  # one signature for three generations: the rest is HfApi's own
        self, repo_id: str, operations: Iterable[Any], *, source: str | None = None, **kwargs: Any
    ) -> CommitInfo | Future[CommitInfo]:
        """
        Create a commit, and wait where the Hub refuses it with 429.

        Args:
            repo_id (`str`):
                The repository, for example `"you/textures"`.
            operations (`Iterable` of `CommitOperation`):
                What to commit. Consumed once: a generator survives a retry, and so does a stream.
            source (`str`, *optional*):
                Who is writing, for this commit alone. Defaults to the `source` of the constructor.
            kwargs:
                Every other argument of the installed
                [`HfApi.create_commit`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.create_commit).

        Returns:
            `CommitInfo`, or a `Future` of it with `run_as_future=True`; the retries run inside the future.

        Raises:
            [`HfHubHTTPError`](https://huggingface.co/docs/huggingface_hub/package_reference/utilities#huggingface_hub.errors.HfHubHTTPError):
                The last 429, as huggingface_hub raised it, with a note (Python 3.11+) saying how often and how long
                it was tried. A wait beyond `RetryPolicy.max_total_wait` raises at once.
            Whatever else `HfApi.create_commit` raises: at once and unchanged.

        Example:
        ```python
        >>> from huggingface_hub import CommitOperationAdd
        >>> from mat_vis_hub import ThrottledHfApi
        >>> ThrottledHfApi(source="ambientcg").create_commit(  # doctest: +SKIP
        ...     "you/textures",
        ...     [CommitOperationAdd("brick/color.png", "brick.png")],
        ...     commit_message="Add brick",
        ...     repo_type="dataset",
        ... )

        ```
        """
        source = self.source if source is None else _checked_source(source)
        if kwargs.pop("run_as_future", False):
            create_commit: Callable[..., Any] = self.create_commit
            return self.run_as_future(create_commit, repo_id, operations, source=source, **kwargs)
        operations = list(operations)
        rewind = _rewinder(operations)
        plain: Callable[..., CommitInfo] = super().create_commit
        send = partial(plain, repo_id=repo_id, operations=operations)
        throttle = self._throttle(repo_id, kwargs, source)
        if self.retry.recover:
            from mat_vis_hub.commits.recovery import Recovery

            recovery = Recovery(self, repo_id, kwargs, self.retry, throttle.tell_recovered)
            return throttle.run(lambda: recovery.commit(send, before_retry=rewind), before_retry=rewind)
        return throttle.run(lambda: send(**kwargs), before_retry=rewind)

    def preupload_lfs_files(self, repo_id: str, additions: Iterable[CommitOperationAdd], **kwargs: Any) -> None:
        """As `HfApi.preupload_lfs_files`; a refusal (429) is waited out as that of a commit is."""
        upload: Callable[..., None] = super().preupload_lfs_files
        if surfacing():  # called by create_commit, which waits itself
            return upload(repo_id=repo_id, additions=additions, **kwargs)
        additions = list(additions)
        return self._throttle(repo_id, kwargs, self.source, commits=False).run(
            lambda: upload(repo_id=repo_id, additions=additions, **kwargs), before_retry=_rewinder(additions)
        )

    def upload_folder(self, **kwargs: Any) -> CommitInfo | Future[CommitInfo]:  # type: ignore[override]  # as above
        """
        As `HfApi.upload_folder`, with every commit through `create_commit`, and in as few commits or fewer.

        Args:
            kwargs:
                The arguments of the installed
                [`HfApi.upload_folder`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.upload_folder).

        Returns:
            `CommitInfo` of the last commit, or a `Future` of it with `run_as_future=True`. Call it again to resume:
            what is committed is skipped.

        Example:
        ```python
        >>> from mat_vis_hub import ThrottledHfApi
        >>> ThrottledHfApi().upload_folder(  # doctest: +SKIP
        ...     repo_id="you/textures", folder_path="textures", repo_type="dataset"
        ... )

        ```
        """
        from mat_vis_hub.commits import folder

        if not folder.bypasses_create_commit():
            plain: Callable[..., CommitInfo | Future[CommitInfo]] = super().upload_folder
            return plain(**kwargs)
        if kwargs.pop("run_as_future", False):
            return self.run_as_future(folder.upload_folder, self, **kwargs)
        return folder.upload_folder(self, **kwargs)

    def transact(
        self,
        repo_id: str,
        build: Callable[[Snapshot], Iterable[Any] | None],
        *,
        commit_message: str,
        commit_description: str | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        max_conflicts: int = 6,
        source: str | None = None,
        **kwargs: Any,
    ) -> CommitInfo | None:
        """
        Read, change, commit; where another writer commits first (412), read and change again.

        Every read of a try sees one commit, and what is committed lands on top of exactly that one. A 429 in between is
        waited out as ever, and is no conflict.

        Args:
            repo_id (`str`):
                The repository.
            build (`Callable`):
                Takes a [`Snapshot`], whose `read(path)` gives a file's content or `None`, and returns the operations to
                commit; `None` or none of them commits nothing. It is called again after each conflict, so it has to
                work from the snapshot alone.
            commit_message, commit_description, repo_type, token (*optional*):
                As in `HfApi.create_commit`.
            revision (`str`, *optional*, defaults to `"main"`):
                A branch, or `refs/pr/N`.
            max_conflicts (`int`, *optional*, defaults to `6`):
                How many conflicts are followed by another try, each after a short random wait.
            source (`str`, *optional*):
                Who is writing, for this transaction alone. Defaults to the `source` of the constructor.
            kwargs:
                Further arguments of `create_commit`.

        Returns:
            `CommitInfo`, or `None` if there was nothing to commit.

        Raises:
            [`HfHubHTTPError`](https://huggingface.co/docs/huggingface_hub/package_reference/utilities#huggingface_hub.errors.HfHubHTTPError):
                The last 412, after `max_conflicts` of them.
            [`RevisionNotFoundError`](https://huggingface.co/docs/huggingface_hub/package_reference/utilities#huggingface_hub.errors.RevisionNotFoundError):
                If there is no such branch.
            Whatever `build`, a read or the commit raises: at once and unchanged; nothing is committed then.

        Example:
        ```python
        >>> import json
        >>> from huggingface_hub import CommitOperationAdd
        >>> from mat_vis_hub import ThrottledHfApi
        >>> def count_up(snapshot):
        ...     count = json.loads(snapshot.read("count.json") or "0")
        ...     return [CommitOperationAdd("count.json", json.dumps(count + 1).encode())]
        >>> ThrottledHfApi().transact("you/textures", count_up, commit_message="Count up")  # doctest: +SKIP

        ```
        """
        from mat_vis_hub.commits import transaction

        api = self
        if source is not None:  # so that its commits are attributed as well
            api = copy(self)
            api.source = _checked_source(source)
        return transaction.transact(
            api,
            repo_id,
            build,
            commit_message=commit_message,
            commit_description=commit_description,
            repo_type=repo_type,
            revision=revision,
            token=token,
            max_conflicts=max_conflicts,
            source=api.source,
            tell=self._hooks.emit,
            **kwargs,
        )

    def batch(self, repo_id: str, *, commit_message: str, **kwargs: Any) -> CommitBatch:
        """
        Gather many files into few commits.

        Args:
            repo_id (`str`):
                The repository, for example `"you/textures"`.
            commit_message (`str`):
                Of every commit.
            kwargs:
                Further arguments of [`CommitBatch`]: `repo_type`, `revision`, `max_files`, `max_bytes`, `max_age`,
                `source`, ...

        Returns:
            [`CommitBatch`], a context manager: `add(path, file_or_bytes)`, `delete(path)`; on leaving, it commits the
            rest.

        Example:
        ```python
        >>> from mat_vis_hub import ThrottledHfApi
        >>> api = ThrottledHfApi()
        >>> with api.batch("you/textures", repo_type="dataset", commit_message="Bake") as batch:  # doctest: +SKIP
        ...     batch.add("brick/color.png", "brick.png")

        ```
        """
        from mat_vis_hub.commits.batch import CommitBatch

        return CommitBatch(self, repo_id, commit_message=commit_message, **{"source": self.source, **kwargs})

    def budget_status(self, repo_id: str, *, repo_type: str | None = None) -> BudgetStatus:
        """
        Where a repository's budget stands: commits used, the limit, its window, and when the next slots free up.

        Args:
            repo_id (`str`):
                The repository.
            repo_type (`str`, *optional*):
                As in `HfApi.create_commit`.

        Returns:
            [`BudgetStatus`]: `used`, `limit`, `window` in seconds, and `frees_in`: in how many seconds the next slots
            free up.

        Raises:
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If this object has no budget.
            [`BudgetError`]
                If the count cannot be had.

        Example:
        ```python
        >>> from mat_vis_hub import ThrottledHfApi
        >>> api = ThrottledHfApi(budget="memory://?limit=256")
        >>> api.budget_status("you/textures", repo_type="dataset")
        BudgetStatus(used=0, limit=256, window=3600.0, frees_in=())

        ```
        """
        if self._budget is None:
            raise ValueError('This ThrottledHfApi has no budget: make it with budget="memory://" or another URL.')
        return self._budget.status(Repository(self.endpoint, repo_type or "model", repo_id))

    def _guarded(self, budget: str | CommitBudget | None) -> FailOpenBudget | None:
        if isinstance(budget, str):
            from mat_vis_hub.budget.url import from_url

            budget = from_url(budget, read=partial(_reader, self.token, self.headers))
        return FailOpenBudget(budget) if budget is not None else None

    def _throttle(self, repo_id: str, kwargs: Mapping[str, Any], source: str, *, commits: bool = True) -> Throttle:
        """The loop for one call with these arguments. What may be said of it aloud holds no token."""
        secrets = (self.token, kwargs.get("token"))
        target = Target(
            endpoint=self.endpoint,
            repo_type=kwargs.get("repo_type") or "model",
            repo_id=without_secrets(str(repo_id), secrets),
            revision=without_secrets(str(kwargs.get("revision") or "main"), secrets),
            source=without_secrets(source, secrets),
        )
        return Throttle(target, self.retry, self._hooks, budget=self._budget, commits=commits)

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """
        Throttle every `HfApi` of this process, also those that other libraries make for themselves.

        Within this context `HfFileSystem`, `ModelCard.push_to_hub`, `datasets`' and `transformers`' `push_to_hub` and
        all that commits through an `HfApi` waits as this object does: its policy, its hooks, its `source`. Endpoint,
        token and headers stay those of whoever calls. It holds for all threads.

        Example:
        ```python
        >>> from huggingface_hub import HfFileSystem
        >>> from mat_vis_hub import ThrottledHfApi
        >>> with ThrottledHfApi(source="notebook").everywhere():  # doctest: +SKIP
        ...     HfFileSystem().put_file("brick.png", "datasets/you/textures/brick.png")

        ```
        """
        plain = {name: getattr(HfApi, name) for name in ("create_commit", "preupload_lfs_files", "upload_folder")}
        for name, method in plain.items():
            setattr(HfApi, name, self._stand_in(name, method))
        try:
            yield
        finally:
            for name, method in plain.items():
                setattr(HfApi, name, method)

    def _stand_in(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        """What `HfApi`'s method of this name does meanwhile: the same for a throttled object, and ours for others."""

        @wraps(plain)
        def method(api: HfApi, *args: Any, **kwargs: Any) -> Any:
            if isinstance(api, ThrottledHfApi):
                return plain(api, *args, **kwargs)
            twin = copy(self)
            for attribute in ("endpoint", "token", "library_name", "library_version", "user_agent", "headers"):
                setattr(twin, attribute, getattr(api, attribute))
            ours: Callable[..., Any] = getattr(twin, name)
            if kwargs.pop("run_as_future", False):
                return api.run_as_future(ours, *args, **kwargs)
            return ours(*args, **kwargs)

        return method

    def run_as_future(self, fn: Callable[..., R], *args: Any, **kwargs: Any) -> Future[R]:
        """As `HfApi.run_as_future`: in the background, one after another. Works in a forked process as well."""
        with _BACKGROUND:
            if self._background is None or self._background.pid != os.getpid():
                self._background = _Background()
            return self._background.submit(fn, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_background": None}  # threads stay where they are


def _forget() -> None:
    """After a fork: whoever held the lock did not come along."""
    global _BACKGROUND
    _BACKGROUND = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class _Background(ThreadPoolExecutor):
    """One background thread, and the process that it lives in: a fork does not take it along."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="mat_vis_hub")
        self.pid = os.getpid()


def _rewinder(operations: list[Any]) -> Callable[[], None]:
    """A call that puts the operations' streams back to where they are now: a refused upload leaves them anywhere."""
    streams: list[Any] = [getattr(operation, "path_or_fileobj", None) for operation in operations]
    positions = [(stream, stream.tell()) for stream in streams if hasattr(stream, "seek")]

    def rewind() -> None:
        for stream, position in positions:
            stream.seek(position)

    return rewind


def _reader(token: str | bool | None, headers: dict[str, str] | None, repository: Repository) -> HfApi:
    """Who reads a repository's history for a budget."""
    return HfApi(endpoint=repository.endpoint, token=token, headers=headers)


def _checked_source(source: object) -> str:
    if not isinstance(source, str):
        raise TypeError(f"source={source!r}: source must be a string, the name of who is writing.")
    return source
