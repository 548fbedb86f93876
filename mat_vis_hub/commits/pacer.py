"""How large the next commit should be: by how long earlier ones took, and by how much of the quota is used.

The Hub cuts a commit off after 60 seconds, so each should take less than 40, as in huggingface_hub's own pipeline. How
long a commit takes depends on its operations and on the content inside it, and differs between repositories. So the
first commits are of a moderate size, and the later ones are sized by what these have taken.
"""

from __future__ import annotations

import math
import threading

from huggingface_hub import CommitOperationAdd

from mat_vis_hub._hub.operations import is_large

MOST_OPERATIONS = 12_500  # half of the 25,000 large files that the Hub takes in one commit
MOST_BYTES = 400_000_000  # of the 1 GB of regular content; it travels as base64, and is built in memory
_TARGET = 38.0  # seconds
FIRST = 256.0  # units; about as many files as huggingface_hub's pipeline starts with, and one preupload asks about
_BYTES_PER_UNIT = 400_000  # of regular content, which is sent along with the commit
_FASTEST_GROWTH = 3.0
_RECOVERY = 1.05  # how fast the ceiling rises again after a commit that was cut off
_TELLING = 0.5  # of the room: a smaller commit says little about how long a full one takes


class Pacer:
    """
    Sizes commits so that each takes less than 40 seconds. Its unit is an operation, or 400 kB of regular content.

    `room` is the size of the next commit. It at most triples from one commit to the next. It shrinks at once if a
    commit took longer than intended. After a commit that was cut off it is half of what that commit had, and grows
    slowly from there.

    Args:
        first (`float`, *optional*, defaults to `256.0`): The size of the first commit.
    """

    def __init__(self, first: float = FIRST) -> None:
        self.room = first
        self._ceiling = math.inf
        self._lock = threading.Lock()

    def landed(self, units: float, seconds: float) -> None:
        """A commit of that size landed, after so much time."""
        with self._lock:
            fitting = units * _TARGET / seconds if seconds > 0 else math.inf
            if units < _TELLING * self.room and fitting >= units:
                return
            self._ceiling *= _RECOVERY
            self.room = max(1.0, min(fitting, _FASTEST_GROWTH * max(units, self.room), self._ceiling))

    def cut_off(self, units: float) -> None:
        """A commit of that size was too large or took too long."""
        with self._lock:
            self._ceiling = max(1.0, units / 2)
            self.room = min(self.room, self._ceiling)


def units_of(operation: object) -> float:
    """What one operation adds to the size of a commit. Regular content is known once it has been preuploaded."""
    return max(1.0, bytes_of(operation) / _BYTES_PER_UNIT)


def bytes_of(operation: object) -> int:
    """The bytes that travel inside the commit. A large file is uploaded before."""
    if isinstance(operation, CommitOperationAdd) and not is_large(operation):
        return int(operation.upload_info.size)
    return 0
