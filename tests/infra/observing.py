"""What a test sees of processes from outside: conditions with a deadline, and whether a process runs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

#: A run is up in a few seconds, and gone in less, where nothing else is done.
DEADLINE_S = 120.0


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process runs: a zombie, which waits for its reaper, does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in ("", "Z")


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and that those have."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {pid})
