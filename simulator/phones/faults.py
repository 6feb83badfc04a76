"""The kinds of faults by name, and the faults that a scenario's tables ask for. No I/O, no clock.

docs/faults.md describes each kind for users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from random import Random
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from simulator.phones.belief import MAX_AGE_MS, MAX_FUTURE_MS
from simulator.phones.fault import FOREVER, Fault, Window
from simulator.phones.fault_links import Circle, DeadPhone, Delay, Duplicate, Flush, Loss, Reorder, Tunnel
from simulator.phones.fault_misreadings import ClockSkew, Mock, Stuck, Teleport, ZeroPosition
from simulator.scenarios.scenario import Fault as FaultTable
from simulator.scenarios.toml_tables import Table, read_table

#: A fix time is not set nearer than this to ingest's limits: there it depends on the network whether it is taken.
NEAR_FUTURE_S: Final = (MAX_FUTURE_MS / 1_000 - 5, MAX_FUTURE_MS / 1_000 + 60)
NEAR_OLD_S: Final = (MAX_AGE_MS / 1_000 / 2, MAX_AGE_MS / 1_000 + 60)

Rate = Annotated[float, Meta(gt=0, le=1)]
Distance = Annotated[float, Meta(ge=1, le=1_000_000)]
Wait = Annotated[float, Meta(ge=0, le=3_600)]


class Members(Table, frozen=True, kw_only=True):
    """A kind's own members."""

    #: How long a fix may be under way because of this fault.
    @property
    def longest_s(self) -> float:
        return 0.0


class NoMembers(Members, frozen=True, kw_only=True):
    """A kind that needs none."""


class TunnelMembers(Members, frozen=True, kw_only=True):
    flush: Flush = "in_order"
    buffer: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000


class LossMembers(Members, frozen=True, kw_only=True):
    rate: Rate = 0.1


class DelayMembers(Members, frozen=True, kw_only=True):
    delay_s: tuple[Wait, Wait] = (0.5, 3.0)
    in_order: bool = True

    @property
    def longest_s(self) -> float:
        return self.delay_s[1]

    def problems(self) -> Iterator[str]:
        return _shorter_first("delay_s", self.delay_s)


class DuplicateMembers(Members, frozen=True, kw_only=True):
    rate: Rate = 0.1
    copies: Annotated[int, Meta(ge=1, le=100)] = 1
    after_s: tuple[Wait, Wait] = (0.0, 2.0)

    @property
    def longest_s(self) -> float:
        return self.after_s[1]

    def problems(self) -> Iterator[str]:
        return _shorter_first("after_s", self.after_s)


class ReorderMembers(Members, frozen=True, kw_only=True):
    rate: Rate = 0.1
    hold_s: tuple[Wait, Wait] = (1.0, 5.0)

    @property
    def longest_s(self) -> float:
        return self.hold_s[1]

    def problems(self) -> Iterator[str]:
        return _shorter_first("hold_s", self.hold_s)


class ClockSkewMembers(Members, frozen=True, kw_only=True):
    skew_s: Annotated[float, Meta(ge=-1e9, le=1e9)] = 20.0

    def problems(self) -> Iterator[str]:
        if NEAR_FUTURE_S[0] < self.skew_s < NEAR_FUTURE_S[1]:
            yield (
                "skew_s: is so near to the 60 s ahead that ingest takes that its answer depends on the network: "
                f"at most {NEAR_FUTURE_S[0]:g} (accepted) or at least {NEAR_FUTURE_S[1]:g} (future_fix)"
            )
        if NEAR_OLD_S[0] < -self.skew_s < NEAR_OLD_S[1]:
            yield (
                "skew_s: is so near to the 24 h that ingest looks back that its answer depends on the network: "
                f"at least {-NEAR_OLD_S[0]:g} (accepted) or at most {-NEAR_OLD_S[1]:g} (too_old)"
            )


class TeleportMembers(Members, frozen=True, kw_only=True):
    rate: Rate = 0.02
    distance_m: Distance = 5_000.0


class MockMembers(Members, frozen=True, kw_only=True):
    rate: Rate = 1.0
    distance_m: Distance = 2_000.0


class ZeroPositionMembers(Members, frozen=True, kw_only=True):
    rate: Rate = 1.0


def _shorter_first(name: str, range_s: tuple[float, float]) -> Iterator[str]:
    if range_s[0] > range_s[1]:
        yield f"{name}: give the shorter time first"


class Kind(NamedTuple):
    """How a kind is read, and made of (window, random, its own members)."""

    members: type[Members]
    make: Callable[..., Fault]


#: Every kind, by the name that a scenario gives.
KINDS: Final[Mapping[str, Kind]] = {
    Tunnel.kind: Kind(TunnelMembers, Tunnel),
    Loss.kind: Kind(LossMembers, Loss),
    Delay.kind: Kind(DelayMembers, Delay),
    Duplicate.kind: Kind(DuplicateMembers, Duplicate),
    Reorder.kind: Kind(ReorderMembers, Reorder),
    DeadPhone.kind: Kind(NoMembers, DeadPhone),
    ClockSkew.kind: Kind(ClockSkewMembers, ClockSkew),
    Teleport.kind: Kind(TeleportMembers, Teleport),
    Mock.kind: Kind(MockMembers, Mock),
    Stuck.kind: Kind(NoMembers, Stuck),
    ZeroPosition.kind: Kind(ZeroPositionMembers, ZeroPosition),
}


def faults_of(tables: Sequence[FaultTable], seed: int, drivers: int, start_ms: int) -> list[Fault]:
    """The faults of a scenario that begins at `start_ms`, in its order. Raises ValueError, in one line.

    Each has its own chance, named by its place, so that one more at the end leaves the others as they are.
    """
    members, problems = _read(tables)
    problems += [f"faults[{number}].{each}" for number, table in enumerate(tables) for each in table.problems()]
    if problems:
        raise ValueError("; ".join(problems))
    return [
        _fault(table, own, Random(f"{seed}/fault/{number}"), drivers, start_ms)  # noqa: S311 - seeded on purpose
        for number, (table, own) in enumerate(zip(tables, members, strict=True))
    ]


def problems_of(tables: Sequence[FaultTable]) -> list[str]:
    """What is wrong with the kinds and their own members: `faults[0].rate: expected float <= 1.0`.

    What every fault has is judged where the file is read; a table may lack what was `wrong` there.
    """
    return _read(tables)[1]


def _fault(table: FaultTable, members: Members, random: Random, drivers: int, start_ms: int) -> Fault:
    # Whoever asks for a share means somebody.
    struck = min(drivers, max(1, round(table.share * drivers))) if table.share > 0 else 0
    window = Window(
        start_ms + round(table.from_s * 1_000),
        FOREVER if table.until_s is None else start_ms + round(table.until_s * 1_000),
        frozenset(random.sample(range(drivers), struck)),
    )
    own: dict[str, Any] = msgspec.structs.asdict(members)
    if table.kind == Tunnel.kind:
        area = table.area
        own["area"] = None if area is None else Circle(area.lat, area.lon, area.radius_m)
    return KINDS[table.kind].make(window, random, **own)


def _read(tables: Sequence[FaultTable]) -> tuple[list[Members], list[str]]:
    """The own members of each kind, of those tables that are right, and what is wrong with the others."""
    problems: list[str] = []
    right: dict[int, tuple[FaultTable, Members]] = {}
    for number, table in enumerate(tables):
        path = f"faults[{number}]"
        if "kind" in table.wrong:
            continue
        kind = KINDS.get(table.kind)
        if kind is None:
            problems.append(f"{path}.kind: there is no {table.kind!r}{_meant(table.kind)}")
            continue
        members = read_table(dict(table.params), kind.members, path, problems)
        misfits = list(_misfits(table))
        problems.extend(f"{path}.{problem}" for problem in misfits)
        if members is not None and not (misfits or table.wrong or any(table.problems())):
            right[number] = table, members
    problems.extend(_clashes(right))
    return [members for _, members in right.values()], problems


def _meant(kind: str) -> str:
    close = get_close_matches(kind, KINDS, n=1)
    return f", did you mean {close[0]}?" if close else f" (there is {', '.join(KINDS)})"


def _misfits(table: FaultTable) -> Iterator[str]:
    if table.area is not None and table.kind != Tunnel.kind:
        yield f"area: is for kind tunnel, {table.kind} strikes a share of the drivers"
    ends = table.until_s is not None or table.area is not None or table.wrong & {"until_s", "area"}
    if table.kind == Tunnel.kind and not ends:
        yield "until_s: a tunnel needs an end: until_s, or an area to drive out of"


def _clashes(right: Mapping[int, tuple[FaultTable, Members]]) -> Iterator[str]:
    """Clocks that are ahead by more than ingest takes, and whose fixes wait until it does."""
    for number, (table, own) in right.items():
        if not isinstance(own, ClockSkewMembers):
            continue
        others = [other for place, other in right.items() if place != number and _overlap(table, other[0])]
        if any(isinstance(its, ClockSkewMembers) for _, its in others):
            yield f"faults[{number}].kind: two clock_skew must not overlap in time"
        waits_s = sum(_longest_s(each, its) for each, its in others)
        if own.skew_s > NEAR_FUTURE_S[0] and own.skew_s - waits_s < NEAR_FUTURE_S[1]:
            yield (
                f"faults[{number}].skew_s: its fixes wait up to {waits_s:g} s because of other faults, and then it "
                f"depends on the network whether ingest takes them: at most {NEAR_FUTURE_S[0]:g}"
                + (f" or at least {NEAR_FUTURE_S[1] + waits_s:g}" if waits_s < float("inf") else "")
            )


def _longest_s(table: FaultTable, members: Members) -> float:
    if isinstance(members, TunnelMembers):
        return float("inf") if table.until_s is None else table.until_s - table.from_s
    return members.longest_s


def _overlap(one: FaultTable, other: FaultTable) -> bool:
    return (one.until_s is None or other.from_s < one.until_s) and (other.until_s is None or one.from_s < other.until_s)
