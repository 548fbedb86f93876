"""ThrottledHfApi: the constructor, and the methods that differ from `HfApi`'s."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, TypeVar, overload

from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.utils import validate_repo_id

from mat_vis_hub import throttle, transport
from mat_vis_hub._hub import downloads
from mat_vis_hub._hub.headers import without_headers
from mat_vis_hub._hub.repository import Repository, check_repo_type
from mat_vis_hub._hub.signatures import as_installed
from mat_vis_hub._internal import sanitize
from mat_vis_hub._internal.interrupt import Waits
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub.hooks import Hook, Hooks
from mat_vis_hub.policy import RetryPolicy
from mat_vis_hub.throttle import Target, Throttle

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
    from typing_extensions import Self

    from mat_vis_hub.budget.fail_open import FailOpenBudget
    from mat_vis_hub.budget.protocol import BudgetStatus, CommitBudget
    from mat_vis_hub.commits.batch import CommitBatch
    from mat_vis_hub.commits.transaction import Snapshot
    from mat_vis_hub.events import Event

    CommitOperation: TypeAlias = CommitOperationAdd | CommitOperationCopy | CommitOperationDelete
else:  # these are loaded by their first use; until then `typing.get_type_hints` has to find something
    CommitOperation = CommitOperationAdd = CommitBatch = Snapshot = Event = Self = Any
    BudgetStatus = CommitBudget = FailOpenBudget = Any

R = TypeVar("R")

_MANY = 10_000  # operations, below which every commit may be tried


class ThrottledHfApi(HfApi):
    """
    An [`HfApi`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api) that waits where the Hub refuses.

    Swap the constructor; every method stays what it is. A request that is refused with 429 is sent again when the
    refusal is over, and each wait is reported to the hooks. Every other error passes through unchanged. While a
    repository refuses commits, all writers of this process wait for the same moment.

    Args:
        endpoint, token, library_name, library_version, user_agent, headers (*optional*):
            As in `HfApi`.
        source (`str`, *optional*, defaults to `"unknown"`):
            Who is writing, for attribution in the log.
        retry (`RetryPolicy`, *optional*):
            How long to wait, how often, and when to give up. Defaults to `RetryPolicy()`: five retries and two hours.
        budget (`str` or `CommitBudget`, *optional*):
            Where the commits of all writers are counted, so that each is sent when there is room: a URL such as
            `"memory://"`, `"sqlite:////var/lib/bake/budget.db"`, `"redis://cache:6379/0"`, `"postgresql://..."` or
            `"hub://"`, see [`from_url`]. Defaults to the environment variable `MAT_VIS_HUB_BUDGET`, else to none.
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
        self.hooks = Hooks(hooks)
        self.budget = self._fail_open(budget if budget is not None else os.environ.get("MAT_VIS_HUB_BUDGET") or None)
        self.waits = Waits()
        self._background: PerProcess[ThreadPoolExecutor] = PerProcess(_background)
        sanitize.register_secret(token)

    # ---- commits ---------------------------------------------------------------------------------------

    @overload
    def create_commit(
        self,
        repo_id: str,
        operations: Iterable[CommitOperation],
        *,
        commit_message: str,
        commit_description: str | None = ...,
        token: str | bool | None = ...,
        repo_type: str | None = ...,
        revision: str | None = ...,
        create_pr: bool | None = ...,
        num_threads: int = ...,
        parent_commit: str | None = ...,
        run_as_future: Literal[False] = ...,
        source: str | None = ...,
        _hot_reload: bool | None = ...,
    ) -> CommitInfo: ...

    @overload
    def create_commit(
        self,
        repo_id: str,
        operations: Iterable[CommitOperation],
        *,
        commit_message: str,
        commit_description: str | None = ...,
        token: str | bool | None = ...,
        repo_type: str | None = ...,
        revision: str | None = ...,
        create_pr: bool | None = ...,
        num_threads: int = ...,
        parent_commit: str | None = ...,
        run_as_future: Literal[True] = ...,
        source: str | None = ...,
        _hot_reload: bool | None = ...,
    ) -> Future[CommitInfo]: ...

    @as_installed(HfApi.create_commit)
    def create_commit(
        self,
        repo_id: str,
        operations: Iterable[CommitOperation],
        *,
        commit_message: str,
        commit_description: str | None = None,
        token: str | bool | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        create_pr: bool | None = None,
        num_threads: int = 5,
        parent_commit: str | None = None,
        run_as_future: bool = False,
        source: str | None = None,
        _hot_reload: bool | None = None,
    ) -> CommitInfo | Future[CommitInfo]:
        """
        Create a commit, and wait where the Hub refuses it.

        Files are uploaded and the commit is built first. What waits is the finished request, so what is committed is
        what was there when this method was called.

        Args:
            repo_id (`str`):
                The repository, for example `"you/textures"`.
            operations (`Iterable` of `CommitOperation`):
                What to commit. It is iterated once, so a generator is fine.
            commit_message (`str`):
                The first line of the commit's message.
            source (`str`, *optional*):
                Who is writing, for this commit alone. Defaults to the `source` of the constructor.
            commit_description, token, repo_type, revision, create_pr, num_threads, parent_commit (*optional*),
            run_as_future (`bool`, *optional*):
                As in
                [`HfApi.create_commit`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.create_commit).

        Returns:
            `CommitInfo`, or a `Future` of it with `run_as_future=True`; the retries run inside the future.

        Raises:
            [`HfHubHTTPError`](https://huggingface.co/docs/huggingface_hub/package_reference/utilities#huggingface_hub.errors.HfHubHTTPError):
                The last 429, as huggingface_hub raised it, with a note (Python 3.11+) on how often and how long it
                was tried, which [`gave_up`] reads. A wait beyond `RetryPolicy.max_total_wait` raises at once.
            [`WaitCancelled`]:
                If the wait was called off.
            Every other exception of `HfApi.create_commit`: at once and unchanged.

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
        arguments: dict[str, Any] = {
            "commit_message": commit_message,
            "commit_description": commit_description,
            "token": token,
            "repo_type": repo_type,
            "revision": revision,
            "create_pr": create_pr,
            "num_threads": num_threads,
            "parent_commit": parent_commit,
        }
        if _hot_reload is not None:  # huggingface_hub's own, from 1.x on
            arguments["_hot_reload"] = _hot_reload
        api = self if source is None else self._with_source(source)
        if run_as_future:
            return self.run_as_future(api.create_commit, repo_id, operations, **arguments)
        operations = list(operations)
        if len(operations) > _MANY:
            from mat_vis_hub.commits.limits import check_commit

            check_commit(len(operations), repo_id)
        plain: Callable[..., CommitInfo] = super(ThrottledHfApi, api).create_commit
        call = api._throttle(repo_id, repo_type, revision, token)
        attempt: Callable[[], CommitInfo] = partial(plain, repo_id, operations, **arguments)
        rewind = partial(_rewind, _positions(operations))
        if self.retry.recover:
            from mat_vis_hub.commits.recovery import with_recovery

            attempt = with_recovery(attempt)
        if transport.install():
            return call.run(attempt, rewind)
        if self.retry.recover:
            warnings.warn(_NO_RECOVERY, stacklevel=2)
        return call.commit(attempt)  # no request passes through the wrapper, so a commit takes its turn here

    @as_installed(HfApi.preupload_lfs_files)
    def preupload_lfs_files(
        self,
        repo_id: str,
        additions: Iterable[CommitOperationAdd],
        *,
        token: str | bool | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        create_pr: bool | None = None,
        num_threads: int = 5,
        free_memory: bool = True,
        gitignore_content: str | None = None,
    ) -> None:
        """
        As
        [`HfApi.preupload_lfs_files`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.preupload_lfs_files).
        A refusal is waited out, also one of a part of a large file.
        """
        upload: Callable[..., None] = partial(
            super().preupload_lfs_files,
            repo_id,
            token=token,
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
            num_threads=num_threads,
            free_memory=free_memory,
            gitignore_content=gitignore_content,
        )
        if throttle.current() is not None:  # called by create_commit, which waits itself
            return upload(additions)
        transport.install()
        additions = list(additions)
        call = self._throttle(repo_id, repo_type, revision, token)
        return call.run(partial(upload, additions), partial(_rewind, _positions(additions)))

    @overload
    def upload_file(
        self,
        *,
        path_or_fileobj: str | Path | bytes | BinaryIO,
        path_in_repo: str,
        repo_id: str,
        token: str | bool | None = ...,
        repo_type: str | None = ...,
        revision: str | None = ...,
        commit_message: str | None = ...,
        commit_description: str | None = ...,
        create_pr: bool | None = ...,
        parent_commit: str | None = ...,
        run_as_future: Literal[False] = ...,
        source: str | None = ...,
        _hot_reload: bool | None = ...,
    ) -> CommitInfo: ...

    @overload
    def upload_file(
        self,
        *,
        path_or_fileobj: str | Path | bytes | BinaryIO,
        path_in_repo: str,
        repo_id: str,
        token: str | bool | None = ...,
        repo_type: str | None = ...,
        revision: str | None = ...,
        commit_message: str | None = ...,
        commit_description: str | None = ...,
        create_pr: bool | None = ...,
        parent_commit: str | None = ...,
        run_as_future: Literal[True] = ...,
        source: str | None = ...,
        _hot_reload: bool | None = ...,
    ) -> Future[CommitInfo]: ...

    @as_installed(HfApi.upload_file)
    def upload_file(
        self,
        *,
        path_or_fileobj: str | Path | bytes | BinaryIO,
        path_in_repo: str,
        repo_id: str,
        token: str | bool | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        create_pr: bool | None = None,
        parent_commit: str | None = None,
        run_as_future: bool = False,
        source: str | None = None,
        _hot_reload: bool | None = None,
    ) -> CommitInfo | Future[CommitInfo]:
        """
        As
        [`HfApi.upload_file`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.upload_file),
        with `source` as in [`create_commit`].
        """
        extra: dict[str, Any] = {} if _hot_reload is None else {"_hot_reload": _hot_reload}
        plain: Any = super(ThrottledHfApi, self._with_source(source)).upload_file
        result: CommitInfo | Future[CommitInfo] = plain(
            path_or_fileobj=path_or_fileobj,
            path_in_repo=path_in_repo,
            repo_id=repo_id,
            token=token,
            repo_type=repo_type,
            revision=revision,
            commit_message=commit_message,
            commit_description=commit_description,
            create_pr=create_pr,
            parent_commit=parent_commit,
            run_as_future=run_as_future,
            **extra,
        )
        return result

    @overload
    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str | Path,
        path_in_repo: str | None = ...,
        commit_message: str | None = ...,
        commit_description: str | None = ...,
        token: str | bool | None = ...,
        repo_type: str | None = ...,
        revision: str | None = ...,
        create_pr: bool | None = ...,
        parent_commit: str | None = ...,
        allow_patterns: list[str] | str | None = ...,
        ignore_patterns: list[str] | str | None = ...,
        delete_patterns: list[str] | str | None = ...,
        run_as_future: Literal[False] = ...,
        source: str | None = ...,
    ) -> CommitInfo: ...

    @overload
    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str | Path,
        path_in_repo: str | None = ...,
        commit_message: str | None = ...,
        commit_description: str | None = ...,
        token: str | bool | None = ...,
        repo_type: str | None = ...,
        revision: str | None = ...,
        create_pr: bool | None = ...,
        parent_commit: str | None = ...,
        allow_patterns: list[str] | str | None = ...,
        ignore_patterns: list[str] | str | None = ...,
        delete_patterns: list[str] | str | None = ...,
        run_as_future: Literal[True] = ...,
        source: str | None = ...,
    ) -> Future[CommitInfo]: ...

    @as_installed(HfApi.upload_folder)
    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str | Path,
        path_in_repo: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        token: str | bool | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        create_pr: bool | None = None,
        parent_commit: str | None = None,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
        run_as_future: bool = False,
        source: str | None = None,
    ) -> CommitInfo | Future[CommitInfo]:
        """
        As
        [`HfApi.upload_folder`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.upload_folder),
        with every commit through [`create_commit`], and in as few commits or fewer.

        Args:
            source (`str`, *optional*):
                Who is writing. Defaults to the `source` of the constructor.

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
        arguments: dict[str, Any] = {
            "repo_id": repo_id,
            "folder_path": folder_path,
            "path_in_repo": path_in_repo,
            "commit_message": commit_message,
            "commit_description": commit_description,
            "token": token,
            "repo_type": repo_type,
            "revision": revision,
            "create_pr": create_pr,
            "parent_commit": parent_commit,
            "allow_patterns": allow_patterns,
            "ignore_patterns": ignore_patterns,
            "delete_patterns": delete_patterns,
        }
        from mat_vis_hub.commits import folder

        api = self._with_source(source)
        if run_as_future:
            return self.run_as_future(folder.upload_folder, api, **arguments)
        return folder.upload_folder(api, **arguments)

    @as_installed(HfApi.delete_file)
    def delete_file(
        self,
        path_in_repo: str,
        repo_id: str,
        *,
        token: str | bool | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        create_pr: bool | None = None,
        parent_commit: str | None = None,
        source: str | None = None,
    ) -> CommitInfo:
        """
        As
        [`HfApi.delete_file`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.delete_file),
        with `source` as in [`create_commit`].
        """
        return super(ThrottledHfApi, self._with_source(source)).delete_file(
            path_in_repo,
            repo_id,
            token=token,
            repo_type=repo_type,
            revision=revision,
            commit_message=commit_message,
            commit_description=commit_description,
            create_pr=create_pr,
            parent_commit=parent_commit,
        )

    @as_installed(HfApi.delete_files)
    def delete_files(
        self,
        repo_id: str,
        delete_patterns: list[str],
        *,
        token: str | bool | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        create_pr: bool | None = None,
        parent_commit: str | None = None,
        source: str | None = None,
    ) -> CommitInfo:
        """
        As
        [`HfApi.delete_files`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.delete_files),
        with `source` as in [`create_commit`].
        """
        return super(ThrottledHfApi, self._with_source(source)).delete_files(
            repo_id,
            delete_patterns,
            token=token,
            repo_type=repo_type,
            revision=revision,
            commit_message=commit_message,
            commit_description=commit_description,
            create_pr=create_pr,
            parent_commit=parent_commit,
        )

    @as_installed(HfApi.delete_folder)
    def delete_folder(
        self,
        path_in_repo: str,
        repo_id: str,
        *,
        token: str | bool | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        create_pr: bool | None = None,
        parent_commit: str | None = None,
        source: str | None = None,
    ) -> CommitInfo:
        """
        As
        [`HfApi.delete_folder`](https://huggingface.co/docs/huggingface_hub/package_reference/hf_api#huggingface_hub.HfApi.delete_folder),
        with `source` as in [`create_commit`].
        """
        return super(ThrottledHfApi, self._with_source(source)).delete_folder(
            path_in_repo,
            repo_id,
            token=token,
            repo_type=repo_type,
            revision=revision,
            commit_message=commit_message,
            commit_description=commit_description,
            create_pr=create_pr,
            parent_commit=parent_commit,
        )

    if not TYPE_CHECKING:  # type checkers see HfApi's own

        @wraps(HfApi.hf_hub_download)
        def hf_hub_download(self, *args, **kwargs):
            return self._download(super().hf_hub_download, *args, **kwargs)

        @wraps(HfApi.snapshot_download)
        def snapshot_download(self, *args, **kwargs):
            forwards = downloads.forwards_headers()
            plain = super().snapshot_download if forwards else partial(downloads.snapshot_download, self)
            return self._download(plain, *args, **kwargs)

        if hasattr(HfApi, "upload_large_folder"):

            @wraps(HfApi.upload_large_folder)
            def upload_large_folder(self, *args, **kwargs):
                from mat_vis_hub.commits import large_folder

                retry = large_folder.unbounded(self.retry) if large_folder.never_ends() else self.retry
                return super(ThrottledHfApi, self._twin(retry=retry)).upload_large_folder(*args, **kwargs)

    # ---- turns, batches and transactions ----

    @contextmanager
    def turn(
        self,
        repo_id: str,
        *,
        repo_type: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        source: str | None = None,
    ) -> Iterator[None]:
        """
        Wait first and read then: hold the sole right to commit to a repository for the length of a `with` block.

        Entering the block waits until a commit could be sent, for the quota as well as for other commits. Inside, no
        other thread of this process commits to the repository, nor does another process that shares a `sqlite`,
        `redis` or `postgresql` budget. So what the block reads is still true when it commits, and a commit with
        `parent_commit=` can only conflict with a writer elsewhere. This holds for all commits that this thread sends
        to the repository, also those of other objects and of module-level functions.

        The first commit of the block uses the room in the budget for which it has waited. Each further one waits for
        room of its own. A block that does not commit uses up none.

        Others must not wait for ever. So a block that goes on for 75 seconds without a commit under way may lose its
        turn: others commit then, and its own next commit waits for a turn again. Upload large files before the block,
        with `preupload_lfs_files`. The same bound ends the wait of two threads each of which wants what the other
        one holds; threads that need turns of several repositories should take them in one order.

        Inside the block, do not wait for a commit of another thread, such as one with `run_as_future=True`: it waits
        for the end of the block. A block inside another one for the same repository, in the same thread, changes
        nothing.

        Args:
            repo_id (`str`):
                The repository, for example `"you/textures"`.
            repo_type, token (*optional*):
                As in `HfApi.create_commit`.
            revision (`str`, *optional*, defaults to `"main"`):
                The branch that the block is going to commit to, for the log.
                The turn is the whole repository's, as the Hub's own lock is.
            source (`str`, *optional*):
                Who is writing, for the log of this wait. Defaults to the `source` of the constructor.

        Raises:
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If no repository can have this name or type.
            [`WaitCancelled`]:
                If the wait for the turn was called off.

        Example:
        ```python
        >>> from huggingface_hub import CommitOperationAdd
        >>> from mat_vis_hub import ThrottledHfApi
        >>> api = ThrottledHfApi()
        >>> with api.turn("you/textures", repo_type="dataset"):  # doctest: +SKIP
        ...     head = api.repo_info("you/textures", repo_type="dataset").sha
        ...     index = api.hf_hub_download("you/textures", "index.json", repo_type="dataset", revision=head)
        ...     api.create_commit(
        ...         "you/textures",
        ...         [CommitOperationAdd("index.json", changed(index))],
        ...         commit_message="Update the index",
        ...         repo_type="dataset",
        ...         parent_commit=head,
        ...     )

        ```
        """
        validate_repo_id(repo_id)
        check_repo_type(repo_type)
        transport.install()
        api = self._with_source(source)
        with api._throttle(repo_id, repo_type, revision, token).turn():
            yield

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
        num_threads: int = 5,
        max_conflicts: int = 6,
        source: str | None = None,
    ) -> CommitInfo | None:
        """
        Read, change, commit; where another writer commits first (412), read and change again.

        Every read of a try sees one commit, and what is committed lands on top of exactly that one. Each try takes its
        turn before it reads, as in [`turn`], so only a writer elsewhere can come first. A refusal in between is waited
        out, and is no conflict.

        Args:
            repo_id (`str`):
                The repository.
            build (`Callable`):
                Takes a [`Snapshot`], whose `read(path)` gives a file's content or `None`, and returns the operations to
                commit; `None` or none of them commits nothing. It is called again after each conflict, so it has to
                work from the snapshot alone. It must not wait for a commit of another thread to the same repository.
            commit_message (`str`), commit_description, repo_type, token, num_threads (*optional*):
                As in `HfApi.create_commit`.
            revision (`str`, *optional*, defaults to `"main"`):
                A branch, or `refs/pr/N`.
            max_conflicts (`int`, *optional*, defaults to `6`):
                How many conflicts are followed by another try, each after a short random wait.
            source (`str`, *optional*):
                Who is writing, for this transaction alone. Defaults to the `source` of the constructor.

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

        api = self._with_source(source)
        return transaction.transact(
            api,
            repo_id,
            build,
            commit_message=commit_message,
            commit_description=commit_description,
            repo_type=repo_type,
            revision=revision,
            token=token,
            num_threads=num_threads,
            max_conflicts=max_conflicts,
            source=api.source,
            emit=self.hooks.emit,
        )

    def batch(
        self,
        repo_id: str,
        *,
        commit_message: str,
        commit_description: str | None = None,
        repo_type: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        source: str | None = None,
        max_files: int | None = None,
        max_bytes: int = 100_000_000,
        max_age: float = 300.0,
        max_pending_bytes: int = 64_000_000,
        reserve: int = 0,
        background: bool = True,
    ) -> CommitBatch:
        """
        Gather many files into few commits.

        Args:
            repo_id (`str`):
                The repository, for example `"you/textures"`.
            commit_message (`str`), commit_description (`str`, *optional*):
                Of every commit.
            repo_type, revision, token, max_files, max_bytes, max_age, max_pending_bytes, reserve, background \
(*optional*):
                As in [`CommitBatch`].
            source (`str`, *optional*):
                Who is writing. Defaults to the `source` of the constructor.

        Returns:
            [`CommitBatch`], a context manager: `add(path, file_or_bytes)`, `delete(path)`. On leaving, it commits the
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

        return CommitBatch(
            self._with_source(source),
            repo_id,
            commit_message=commit_message,
            commit_description=commit_description,
            repo_type=repo_type,
            revision=revision,
            token=token,
            max_files=max_files,
            max_bytes=max_bytes,
            max_age=max_age,
            max_pending_bytes=max_pending_bytes,
            reserve=reserve,
            background=background,
        )

    # ---- budget ----------------------------------------------------------------------------------------

    def budget_status(
        self, repo_id: str, *, repo_type: str | None = None, token: str | bool | None = None
    ) -> BudgetStatus:
        """
        Where a repository's budget stands: commits used, the limit, its window, and when the next slots free up.

        With `?scope=owner` or `?scope=token`, it is the one that this repository shares with others.

        Args:
            repo_id (`str`):
                The repository.
            repo_type, token (*optional*):
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
        if self.budget is None:
            raise ValueError('This ThrottledHfApi has no budget: make it with budget="memory://" or another URL.')
        budget = self.budget.with_token(self.token if token is None else token)
        return budget.status(Repository.of(self.endpoint, repo_type, repo_id))

    # ---- other libraries -------------------------------------------------------------------------------

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """
        Throttle every request of huggingface_hub in this process, whichever library makes it.

        Within this context, module-level functions such as `huggingface_hub.upload_file`, `HfFileSystem`, `datasets`'
        and `transformers`' `push_to_hub` and every other `HfApi` wait as this object does: its policy, budget, hooks
        and `source` apply. Endpoint, token and headers stay those of the caller. It holds for all threads. Contexts may
        be nested and may overlap; the one that was entered last applies.

        Example:
        ```python
        >>> from huggingface_hub import HfFileSystem
        >>> from mat_vis_hub import ThrottledHfApi
        >>> with ThrottledHfApi(source="notebook").everywhere():  # doctest: +SKIP
        ...     HfFileSystem().put_file("brick.png", "datasets/you/textures/brick.png")

        ```
        """
        with transport.everywhere(self):
            yield

    # ---- ending ----------------------------------------------------------------------------------------

    def cancel_waits(self) -> None:
        """
        Call off the waits of every call of this object that has begun. May be called from any thread.

        A call that waits, or would have to wait later, raises [`WaitCancelled`]. New calls are not affected.
        """
        self.waits.cancel()

    def close(self) -> None:
        """
        Call off all waits, as [`cancel_waits`] does, drop background jobs that have not begun, and close the budget.

        A later call opens again what it needs.
        """
        self.cancel_waits()
        if (background := self._background.if_made) is not None:
            background.shutdown(wait=False, cancel_futures=True)
            self._background = PerProcess(_background)
        if self.budget is not None:
            self.budget.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ---- inside ----------------------------------------------------------------------------------------

    @property
    def headers(self) -> dict[str, str] | None:
        """The headers of every request of this object. One of them names the object, and is removed before sending."""
        if throttle.current() is not None:  # the request is recognised by its thread
            return self._headers
        transport.install()
        return {**(self._headers or {}), transport.MARK: transport.mark_of(self)}

    @headers.setter
    def headers(self, headers: dict[str, str] | None) -> None:
        self._headers = headers

    def _with_source(self, source: str | None) -> Self:
        """This object, with another `source`."""
        if source is None or source == self.source:
            return self
        return self._twin(source=_checked_source(source))

    def _twin(self, **settings: Any) -> Self:
        """This object with other settings. Waits and background jobs are those of this object."""
        twin = copy(self)
        vars(twin).update(settings, waits=self.waits, _background=self._background)
        return twin

    def _download(self, plain: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Call `plain`, and wait where hf_xet is refused: it sends requests that do not pass through the wrapper."""
        try:
            return plain(*args, **kwargs)
        except (ConnectionError, RuntimeError) as error:
            repo_id = kwargs["repo_id"] if "repo_id" in kwargs else args[0]
            call = self._throttle(repo_id, kwargs.get("repo_type"), kwargs.get("revision"), kwargs.get("token"))
            return call.retry(error, partial(plain, *args, **kwargs))

    def _throttle(
        self, repo_id: str, repo_type: str | None, revision: str | None, token: str | bool | None
    ) -> Throttle:
        if token is not None:
            sanitize.register_secret(token)
        repository = Repository.of(self.endpoint, repo_type, str(repo_id))
        target = Target(repository, str(revision or "main"), self.source)
        return Throttle(self, target, self.token if token is None else token)

    def _fail_open(self, budget: str | CommitBudget | None) -> FailOpenBudget | None:
        if budget is None:
            return None
        from mat_vis_hub.budget.url import as_budget

        return as_budget(budget, read=partial(_reader, self.token, self._headers))

    def run_as_future(self, fn: Callable[..., R], *args: Any, **kwargs: Any) -> Future[R]:
        """As `HfApi.run_as_future`: in the background, one after another. Works in a forked process as well."""
        return self._background.value.submit(fn, *args, **kwargs)


def _in_job(plain: Callable[..., R]) -> Callable[..., R]:
    """A method of `HfApi` whose requests lack the object's headers. They are recognised by their thread instead."""

    @wraps(plain)
    def method(self: ThrottledHfApi, *args: Any, **kwargs: Any) -> R:
        with transport.job_of(self):
            return plain(self, *args, **kwargs)

    return method


for _name in without_headers():
    setattr(ThrottledHfApi, _name, _in_job(getattr(HfApi, _name)))


def _background() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="mat_vis_hub")


_NO_RECOVERY = (
    "RetryPolicy(recover=True) has no effect on this commit,"
    " because huggingface_hub's HTTP client has a send method of its own."
)
_NO_STREAMS = (bytes, str, Path, type(None))


def _positions(operations: Iterable[Any]) -> list[tuple[Any, int]]:
    """The streams of the operations, and where they are now: a refused upload leaves them anywhere."""
    return [
        (source, source.tell())
        for operation in operations
        if not isinstance(source := getattr(operation, "path_or_fileobj", None), _NO_STREAMS)
        and hasattr(source, "seek")
    ]


def _rewind(positions: list[tuple[Any, int]]) -> None:
    for stream, position in positions:
        stream.seek(position)


def _reader(token: str | bool | None, headers: dict[str, str] | None, repository: Repository) -> HfApi:
    """Who reads a repository's history for a budget."""
    return HfApi(endpoint=repository.endpoint, token=token, headers=headers)


def _checked_source(source: object) -> str:
    if not isinstance(source, str):
        raise TypeError(f"source={source!r}: source must be a string, the name of who is writing.")
    return source
