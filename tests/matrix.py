"""The roads to the Hub and the refusals that they meet: runs each pair once; keeps the table of `docs/refusals.md`."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitScheduler, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub._hub.errors import status_of

REPO = "you/model"
TOKEN = "hf_x"
GENERATIONS = ("0.36", "1.x", "2.x")
GENERATION = {"0": 0, "1": 1, "2": 2}[huggingface_hub.__version__.partition(".")[0]]
DOCUMENT = Path(__file__).parent.parent / "docs" / "refusals.md"
NOT_SENT = "–"  # the call sends no such request


@dataclass
class Cell:
    """One call that meets one refusal. Every cell has a number of its own, for names that must be new."""

    api: ThrottledHfApi
    number: int
    folder: Path

    def new(self, name: str = "new") -> str:
        return f"{name}-{self.number}"

    def file(self) -> Path:
        path = self.folder / f"{self.new()}.txt"
        path.write_text(self.new())
        return path

    @property
    def addition(self) -> CommitOperationAdd:
        return CommitOperationAdd(f"{self.new()}.txt", self.new().encode())

    @property
    def file_system(self) -> HfFileSystem:
        return HfFileSystem(endpoint=self.api.endpoint, token=TOKEN, skip_instance_cache=True)


# ---- the roads ---------------------------------------------------------------------------------------------------


def batch(cell: Cell) -> None:
    with cell.api.batch(REPO, commit_message="Add") as batch:
        batch.add(f"{cell.new()}.txt", cell.new().encode())


def transact(cell: Cell) -> None:
    def build(snapshot: Any) -> list[Any]:
        assert snapshot.read("old/0.txt")
        return [cell.addition]

    cell.api.transact(REPO, build, commit_message="Add")


def in_a_turn(cell: Cell) -> None:
    with cell.api.turn(REPO):
        cell.api.create_commit(REPO, [cell.addition], commit_message="Add")


def upload_large_folder(cell: Cell) -> None:
    cell.file()
    cell.api.upload_large_folder(  # type: ignore[attr-defined,unused-ignore]  # not in every generation
        repo_id=REPO, repo_type="model", folder_path=cell.folder, num_workers=1, print_report=False
    )


class Scheduler(CommitScheduler):
    """Puts the future of its first push into `pushes`."""

    _CommitScheduler__stopped = False  # its thread reads this, which __init__ sets after starting the thread

    def __init__(self, **options: Any) -> None:
        self.pushes: queue.Queue[Any] = queue.Queue()
        super().__init__(**options)

    def trigger(self) -> Any:
        future = super().trigger()
        self.pushes.put(future)
        return future


def commit_scheduler(cell: Cell) -> None:
    cell.file()
    scheduler = Scheduler(repo_id=REPO, folder_path=cell.folder, every=1000, hf_api=cell.api)
    try:
        scheduler.pushes.get(timeout=60).result(timeout=60)
    finally:
        scheduler.stop()


def in_the_background(cell: Cell) -> None:
    future = cell.api.create_commit(REPO, [cell.addition], commit_message="Add", run_as_future=True)
    future.result(timeout=60)


def everywhere(call: Callable[[Cell], Any]) -> Callable[[Cell], Any]:
    def inside(cell: Cell) -> None:
        with cell.api.everywhere():
            call(cell)

    return inside


def read_file(cell: Cell) -> None:
    with cell.file_system.open(f"{REPO}/old/0.txt", "rb") as file:
        assert file.read() == b"old 0"


def large_file(cell: Cell) -> CommitOperationAdd:
    return CommitOperationAdd(f"{cell.new()}.bin", cell.new().encode() * 4000)


Road = tuple[Callable[[Cell], Any], str]  # the call, and the request that it is about
ROADS: dict[str, Road] = {
    "create_commit": (lambda c: c.api.create_commit(REPO, [c.addition], commit_message="Add"), "commit"),
    "create_commit(create_pr=True)": (
        lambda c: c.api.create_commit(REPO, [c.addition], commit_message="Add", create_pr=True),
        "commit",
    ),
    "create_commit(run_as_future=True)": (in_the_background, "commit"),
    "create_commit in turn": (in_a_turn, "commit"),
    "upload_file": (
        lambda c: c.api.upload_file(path_or_fileobj=c.file(), path_in_repo=c.new(), repo_id=REPO),
        "commit",
    ),
    "upload_folder": (lambda c: c.file() and c.api.upload_folder(repo_id=REPO, folder_path=c.folder), "commit"),
    "upload_large_folder": (upload_large_folder, "commit"),
    "preupload_lfs_files": (lambda c: c.api.preupload_lfs_files(REPO, [large_file(c)]), "preupload"),
    "delete_file": (lambda c: c.api.delete_file(f"old/{c.number}.txt", REPO), "commit"),
    "delete_files": (lambda c: c.api.delete_files(REPO, [f"old/{c.number}.*"]), "commit"),
    "delete_folder": (lambda c: c.api.delete_folder(f"folder/{c.number}", REPO), "commit"),
    "batch": (batch, "commit"),
    "transact": (transact, "commit"),
    "CommitScheduler": (commit_scheduler, "commit"),
    "create_repo": (lambda c: c.api.create_repo(f"you/{c.new()}"), "create-repo"),
    "create_repo(exist_ok=True), exists": (lambda c: c.api.create_repo(REPO, exist_ok=True), "create-repo"),
    "create_repo(exist_ok=True), new": (lambda c: c.api.create_repo(f"you/{c.new()}", exist_ok=True), "create-repo"),
    "create_branch": (lambda c: c.api.create_branch(REPO, branch=c.new()), "create-branch"),
    "delete_branch": (lambda c: c.api.delete_branch(REPO, branch=c.new("branch")), "delete-branch"),
    "create_tag": (lambda c: c.api.create_tag(REPO, tag=c.new()), "create-tag"),
    "delete_tag": (lambda c: c.api.delete_tag(REPO, tag=c.new("tag")), "delete-tag"),
    "super_squash_history": (lambda c: c.api.super_squash_history(REPO, branch=c.new("branch")), "super-squash"),
    "create_discussion": (lambda c: c.api.create_discussion(REPO, c.new(), token=TOKEN), "create-discussion"),
    "comment_discussion": (lambda c: c.api.comment_discussion(REPO, 1, "A comment"), "discuss"),
    "change_discussion_status": (
        lambda c: c.api.change_discussion_status(REPO, c.number + 1, "open"),
        "discuss",
    ),
    "merge_pull_request": (lambda c: c.api.merge_pull_request(REPO, c.number + 1), "merge"),
    "get_repo_discussions": (lambda c: list(c.api.get_repo_discussions(REPO)), "discussions"),
    "whoami": (lambda c: c.api.whoami(), "whoami"),
    "repo_info": (lambda c: c.api.repo_info(REPO), "info"),
    "repo_exists": (lambda c: c.api.repo_exists(REPO), "info"),
    "revision_exists": (lambda c: c.api.revision_exists(REPO, "main"), "info"),
    "file_exists": (lambda c: c.api.file_exists(REPO, "old/0.txt"), "resolve"),
    "list_repo_refs": (lambda c: c.api.list_repo_refs(REPO), "refs"),
    "list_repo_tree": (lambda c: list(c.api.list_repo_tree(REPO)), "tree"),
    "list_repo_files": (lambda c: c.api.list_repo_files(REPO), "tree"),
    "list_repo_commits": (lambda c: c.api.list_repo_commits(REPO), "history"),
    "get_paths_info": (lambda c: c.api.get_paths_info(REPO, ["old/0.txt"]), "paths-info"),
    "hf_hub_download": (
        lambda c: c.api.hf_hub_download(REPO, "old/0.txt", cache_dir=c.folder),
        "resolve",
    ),
    "snapshot_download": (
        lambda c: c.api.snapshot_download(REPO, cache_dir=c.folder, allow_patterns="old/*0.txt"),
        "resolve",
    ),
    "everywhere: create_commit": (
        everywhere(
            lambda c: huggingface_hub.create_commit(
                repo_id=REPO, operations=[c.addition], commit_message="Add", token=TOKEN
            )
        ),
        "commit",
    ),
    "everywhere: upload_file": (
        everywhere(
            lambda c: huggingface_hub.upload_file(
                path_or_fileobj=c.file(), path_in_repo=c.new(), repo_id=REPO, token=TOKEN
            )
        ),
        "commit",
    ),
    "everywhere: upload_folder": (
        everywhere(
            lambda c: c.file() and huggingface_hub.upload_folder(repo_id=REPO, folder_path=c.folder, token=TOKEN)
        ),
        "commit",
    ),
    "everywhere: create_repo(exist_ok=True), exists": (
        everywhere(lambda c: huggingface_hub.create_repo(REPO, exist_ok=True, token=TOKEN)),
        "create-repo",
    ),
    "everywhere: list_repo_files": (everywhere(lambda c: huggingface_hub.list_repo_files(REPO, token=TOKEN)), "tree"),
    "everywhere: hf_hub_download": (
        everywhere(lambda c: huggingface_hub.hf_hub_download(REPO, "old/0.txt", cache_dir=c.folder, token=TOKEN)),
        "resolve",
    ),
    "everywhere: HfFileSystem write": (
        everywhere(lambda c: c.file_system.pipe_file(f"{REPO}/{c.new()}.txt", b"new")),
        "commit",
    ),
    "everywhere: HfFileSystem rm": (
        everywhere(lambda c: c.file_system.rm(f"{REPO}/old/{c.number}.txt")),
        "commit",
    ),
    "everywhere: HfFileSystem read": (everywhere(read_file), "resolve"),
    "everywhere: HfFileSystem ls": (everywhere(lambda c: c.file_system.ls(f"{REPO}/folder")), "tree"),
}


def exists(road: str) -> bool:
    """Whether the installed huggingface_hub has this road."""
    return road != "upload_large_folder" or hasattr(HfApi, "upload_large_folder")


# ---- the kinds ---------------------------------------------------------------------------------------------------

COMMITS = ("commit", "merge")
WRITES = (*COMMITS, "super-squash")
ANY_API = "any"
RETRY_IN_A_MINUTE = "You have exceeded the rate limit for {} per hour). You can retry this action in 1 minute."


def refuses(status: int, message: str = "", **headers: str) -> Callable[[Any, str], None]:
    def script(hub: Any, endpoint: str) -> None:
        hub.answer(status, headers=headers, body={"error": message}, on=endpoint)

    return script


def announces(hub: Any, endpoint: str) -> None:
    """Another request is answered first, and the answer says that nothing is left of the bucket."""
    bucket = "resolvers" if endpoint == "resolve" else "api"
    hub.answer(404, headers={"RateLimit": f'"{bucket}";r=0;t=55'}, on="auth-check")


@dataclass(frozen=True)
class Kind:
    """
    One kind of refusal or failure.

    Args:
        script (`Callable`): Lets the Hub answer so, once.
        on (`tuple` or `str`): The requests that can meet it; `"main"` is the one that the road is about.
        means (`str`): What the table's legend says about it.
        status (`int`, *optional*): The status of the error that a caller would see.
        recover (`bool`): Whether the policy recovers.
    """

    script: Callable[[Any, str], None]
    on: tuple[str, ...] | str
    means: str
    status: int | None = None
    recover: bool = False


def lands_late(hub: Any, endpoint: str) -> None:
    hub.answer(504, body="<html>504 Gateway Time-out</html>", on=endpoint, lands_in=3)


KINDS: dict[str, Kind] = {
    "commits": Kind(
        refuses(429, RETRY_IN_A_MINUTE.format("repository commits (128")),
        COMMITS,
        "429, the quota of commits",
        429,
    ),
    "lock": Kind(
        refuses(409, "Another commit operation is in progress for this repository. Please try again later."),
        WRITES,
        "409, another commit is under way",
        409,
    ),
    "queue full": Kind(refuses(429, "maximum queue size reached"), WRITES, "429, the git backend's queue is full", 429),
    "queue time": Kind(
        refuses(429, "maximum time in concurrency queue reached"), WRITES, "429, waited too long in that queue", 429
    ),
    "api": Kind(
        refuses(429, "We had to rate limit you", RateLimit='"api";r=0;t=55'),
        ANY_API,
        "429, the bucket of API requests is spent; on each request that the call sends to the API",
        429,
    ),
    "resolvers": Kind(
        refuses(429, "We had to rate limit you", RateLimit='"resolvers";r=0;t=9'),
        ("resolve",),
        "429, the bucket of downloads is spent",
        429,
    ),
    "announced": Kind(announces, "main", "an earlier response has said that nothing is left of the bucket"),
    "creation": Kind(
        refuses(429, "You have exceeded the rate limit for repository creation (20 per day). You can retry in 1 day."),
        ("create-repo",),
        "429, the daily quota of new repositories",
        429,
    ),
    "other": Kind(
        refuses(429, RETRY_IN_A_MINUTE.format("discussions (10")),
        ("create-discussion", "discuss", *COMMITS),
        "429, the quota of discussions or pull requests",
        429,
    ),
    "503": Kind(refuses(503, "busy"), "main", "503, without `recover`", 503),
    "504": Kind(refuses(504, "Gateway Time-out"), "main", "504, without `recover`", 504),
    "dropped": Kind(lambda hub, on: hub.drop(on=on), "main", "the connection breaks, without `recover`"),
    "412": Kind(
        refuses(412, "A commit has happened since. Please refresh and try again."),
        COMMITS,
        "412, the branch has moved, without `recover`",
        412,
    ),
    "503, recover": Kind(refuses(503, "busy"), COMMITS, "503, with `RetryPolicy(recover=True)`", 503, recover=True),
    "504, recover": Kind(
        lands_late, COMMITS, "504 for a commit that lands 3 seconds later, with `recover`", 504, recover=True
    ),
    "dropped, recover": Kind(
        lambda hub, on: hub.drop(on=on, applied=True),
        COMMITS,
        "the connection breaks after the commit has landed, with `recover`",
        recover=True,
    ),
    "412, recover": Kind(
        refuses(412, "A commit has happened since. Please refresh and try again."),
        COMMITS,
        "412 without a `parent_commit`, with `recover`",
        412,
        recover=True,
    ),
}
NO_API = {"resolve", "lfs-upload", "lfs-complete", "lfs-verify", "xet-cas", "validate-yaml"}


# ---- running -----------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """
    A local Hub on which one road meets every kind.

    Args:
        hub (`LocalHub`): It runs in virtual time.
        time (`VirtualTime`): That time.
        folder (`Path`): An empty folder.
    """

    hub: Any
    time: Any
    folder: Path
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1000)))

    def prepare(self, road: str) -> None:
        plain = HfApi(endpoint=self.hub.url, token="hf_other")
        plain.create_repo(REPO)
        most = 30 if road.rpartition(" ")[2] in ("delete_file", "delete_files", "delete_folder", "rm") else 1
        files = [f"{folder}/{n}{rest}" for n in range(most) for folder, rest in (("old", ".txt"), ("folder", "/a.txt"))]
        additions = [CommitOperationAdd(path, f"old {re.sub(r'[^0-9]', '', path)}".encode()) for path in files]
        plain.create_commit(REPO, additions, commit_message="Begin")
        if road in ("comment_discussion", "change_discussion_status", "merge_pull_request"):
            plain.create_discussion(REPO, "First", token=TOKEN)
            for number in range(1, 20 if road != "comment_discussion" else 1):
                plain.create_commit(
                    REPO, [CommitOperationAdd(f"pr-{number}", b"x")], commit_message="Add", create_pr=True
                )
                if road == "merge_pull_request":
                    plain.change_discussion_status(REPO, number + 1, "open")
        for number in range(1, 20):
            if road in ("delete_branch", "super_squash_history"):
                plain.create_branch(REPO, branch=f"branch-{number}")
            if road == "delete_tag":
                plain.create_tag(REPO, tag=f"tag-{number}")
        self.time.advance(4000)

    def row(self, road: str) -> dict[str, str]:
        """What becomes of the road with each kind."""
        self.prepare(road)
        sent, commits = self._clean(road)
        return {name: self._outcomes(road, kind, sent, commits) for name, kind in KINDS.items()}

    def _clean(self, road: str) -> tuple[list[str], int]:
        with self._cell(road, recover=False) as (call, since, _):
            call()
            requests, commits = since()
        return list(dict.fromkeys(request.endpoint for request in requests)), commits

    def _outcomes(self, road: str, kind: Kind, sent: list[str], commits: int) -> str:
        main = ROADS[road][1]
        if kind.on == "main":
            where = [main]
        elif kind.on == ANY_API:
            where = [endpoint for endpoint in sent if endpoint not in NO_API]
        else:
            where = [endpoint for endpoint in sent if endpoint in kind.on]
        assert main in sent, f"{road} sends {sent}"
        outcomes: dict[str, list[str]] = {}
        for endpoint in where:
            outcomes.setdefault(self._outcome(road, kind, endpoint, commits), []).append(endpoint)
        if len(outcomes) < 2:
            return next(iter(outcomes), NOT_SENT)
        return "; ".join(f"{outcome} ({', '.join(on)})" for outcome, on in outcomes.items())

    def _outcome(self, road: str, kind: Kind, endpoint: str, expected: int) -> str:
        with self._cell(road, recover=kind.recover) as (call, since, api):
            kind.script(self.hub, endpoint)
            if kind.script is announces:
                with suppress(HfHubHTTPError):
                    api.auth_check(REPO)
            before = len(self.time.waits)
            try:
                call()
            except Exception as error:
                is_its_own = status_of(error) == kind.status
                return "raises" if is_its_own else f"fails with {type(error).__name__}"
            _, commits = since()
            if commits != expected:
                return f"{commits} commits instead of {expected}"
            if kind.recover:
                return "recovers"
            if len(self.time.waits) > before:
                return "waits"
            return "returns" if kind is KINDS["creation"] else "retried"

    @contextmanager
    def _cell(self, road: str, *, recover: bool) -> Iterator[tuple[Callable[[], Any], Callable[[], Any], Any]]:
        number = next(self.numbers)
        folder = self.folder / str(number)
        folder.mkdir()
        retry = RetryPolicy(recover=recover)
        api = ThrottledHfApi(endpoint=self.hub.url, token=TOKEN, retry=retry, hooks=[])
        requests, commits = len(self.hub.requests), len(self.hub.commits)

        def since() -> tuple[list[Any], int]:
            return self.hub.requests[requests:], len(self.hub.commits) - commits

        yield lambda: ROADS[road][0](Cell(api, number, folder)), since, api
        self.hub.clear()
        self.time.advance(4000)  # every quota, bucket and gate is open again
        api.close()


# ---- the document ------------------------------------------------------------------------------------------------

_BEGIN, _END = "<!-- The table is written by tests/test_matrix.py. -->\n", "<!-- End of the table. -->"


def read_table() -> dict[str, dict[str, list[str]]]:
    """The document's table: road, kind, and what becomes of it in each generation."""
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition(_BEGIN)[2].partition(_END)[0].splitlines()
        if line.startswith("| `")
    ]
    header = text.partition(_BEGIN)[2].partition("\n")[0]
    kinds = [cell.strip() for cell in header.strip("|").split("|")][1:]
    return {
        name.strip("`"): {kind: _by_generation(cell) for kind, cell in zip(kinds, cells, strict=True)}
        for name, *cells in rows
    }


def write_row(road: str, row: dict[str, str]) -> None:
    """Put what the installed generation does into the document."""
    table = read_table()
    old = table.get(road, {})
    cells = {kind: old.get(kind, ["?"] * len(GENERATIONS)) for kind in KINDS}
    for kind, outcome in row.items():
        cells[kind][GENERATION] = outcome
    table[road] = cells
    lines = [f"| call | {' | '.join(KINDS)} |", f"|---|{'---|' * len(KINDS)}"]
    for each in ROADS:
        if each in table:
            shown = [_shown(table[each].get(kind, ["?"] * len(GENERATIONS))) for kind in KINDS]
            lines.append(f"| `{each}` | {' | '.join(shown)} |")
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.partition(_BEGIN)[0], text.partition(_END)[2]
    DOCUMENT.write_text("".join([before, _BEGIN, "\n".join(lines), "\n", _END, after]), encoding="utf-8")


def _by_generation(cell: str) -> list[str]:
    parts = [part.strip() for part in cell.split(" / ")]
    return parts * len(GENERATIONS) if len(parts) == 1 else parts


def _shown(outcomes: list[str]) -> str:
    return outcomes[0] if len(set(outcomes)) == 1 else " / ".join(outcomes)
