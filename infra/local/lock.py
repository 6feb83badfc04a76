"""One run in a folder: an exclusive lock on a file, that the kernel frees however its holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.processes import CannotRun


@contextmanager
def only_run(lock: Path) -> Iterator[None]:
    """Hold `lock`, which names our pid while we do. Raises CannotRun when another run holds it, OSError.

    The file stays: whoever removed it could lock another file of the same name than one who has just opened it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    # Children do not inherit it (PEP 446), so none that outlives us keeps it.
    with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = file.read(20).strip()
            who = f"with pid {pid} " if pid.isdigit() else ""
            raise CannotRun(
                f"another run {who}has this folder: end it, or start this one in another folder (and on other ports)"
            ) from None
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
