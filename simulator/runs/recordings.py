"""The file of `--record`: what it held before is kept until there is something to write."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from simulator.fleet.fixes import Fix
from simulator.traces.trace import Recording


@contextmanager
def recording(path: Path | None) -> Iterator[Recording | None]:
    """A recording in `path`, gzipped if it ends in .gz. Raises OSError when it cannot be written.

    It begins with the first fix, or at the end without one; so a run that is refused before costs no recording that is
    there already.
    """
    if path is None:
        yield None
        return
    _try_to_write(path)
    with ExitStack() as open_files:
        late = _Late(path, open_files)
        yield late
        late.begin()


class _Late(Recording):
    def __init__(self, path: Path, open_files: ExitStack) -> None:
        self._path, self._open_files, self._begun = path, open_files, False

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            super().__init__(_opened(self._path, self._open_files))

    def write(self, fixes: Iterable[Fix]) -> None:
        self.begin()
        super().write(fixes)


def _opened(path: Path, open_files: ExitStack) -> TextIO:
    if path.suffix != ".gz":
        return open_files.enter_context(path.open("w", encoding="utf-8", newline=""))
    raw = open_files.enter_context(path.open("wb"))
    # No name and no time in the header: the bytes depend on the fixes only.
    zipped = open_files.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
    return open_files.enter_context(io.TextIOWrapper(zipped, encoding="utf-8", newline=""))


def _try_to_write(path: Path) -> None:
    """So that a file that cannot be written is told before anything is sent."""
    if not path.exists():
        path.open("wb").close()
        path.unlink()
    elif path.is_file():
        path.open("ab").close()
