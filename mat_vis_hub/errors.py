"""What callers can catch."""

from __future__ import annotations


class WaitCancelled(Exception):
    """
    A wait was called off before its end.

    It is raised in the thread that waits, when the object that it waits for is closed, or when Ctrl-C ends the process
    while a worker thread waits. The request that would have followed was not sent.
    """
