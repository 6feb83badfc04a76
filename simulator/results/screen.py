"""Show how a run goes while it goes: a living screen on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from simulator.counts.tally import Tally
from simulator.oracle.promises import Verdict
from simulator.results.facts import amount, clock, number
from simulator.results.recorder import HOPS, POSITION_ERROR, RECEIVED, SENT, STALENESS, TOLD, Recent, Recorder

TERMINAL_EVERY_S = 0.5
#: A log should not fill with progress.
PLAIN_EVERY_S = 10.0
#: Seconds of the little curve, one column each.
_CURVE_BINS = 60
_BARS = "▁▂▃▄▅▆▇█"
_BROKEN_SHOWN = 5
#: Title, level and unit of what each service tells.
_USES = (("of a core", "cpu_cores", "cores"), ("memory", "memory_mib", "MiB"), ("records behind", "lag_records", ""))


@dataclass(frozen=True, slots=True)
class Glance:
    """What can be seen of a run at one moment."""

    title: str
    at_s: float
    #: None: it has no end.
    duration_s: float | None
    tally: Tally
    recent: Recent
    #: The 99th percentile from due to rider of the last seconds.
    curve: Sequence[float | None] = ()
    #: What the scenario breaks now.
    faults: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    start_ms: int = 0
    #: Whatever else is worth a word: "trips" -> "41 under way, 3 waiting".
    words: dict[str, str] = field(default_factory=dict)


def glance(
    recorder: Recorder,
    tally: Tally,
    now_ms: int,
    title: str,
    duration_s: float | None,
    verdicts: Sequence[Verdict] = (),
    words: dict[str, str] | None = None,
) -> Glance:
    """Look at a run now."""
    return Glance(
        title,
        (now_ms - recorder.start_ms) / 1_000,
        duration_s,
        tally,
        recorder.recent(now_ms),
        recorder.p99s(RECEIVED, now_ms, _CURVE_BINS),
        [fault.words for fault in recorder.faults if fault.from_ms <= now_ms < fault.until_ms],
        verdicts,
        recorder.start_ms,
        words or {},
    )


async def show(look: Callable[[], Glance], console: Console, quiet: bool = False) -> None:
    """Show what `look` sees until cancelled."""
    if quiet:
        await asyncio.Event().wait()
    elif console.is_terminal:
        # Redrawn here and not by rich's own thread, which would read while the run writes.
        with Live(screen(look()), console=console, auto_refresh=False, transient=True) as live:
            while True:
                await asyncio.sleep(TERMINAL_EVERY_S)
                live.update(screen(look()), refresh=True)
    else:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            console.print(line(look()), markup=False, highlight=False, soft_wrap=True)


def line(seen: Glance) -> str:
    """All of it in one line, for a log."""
    recent, tally = seen.recent, seen.tally
    parts = [
        _time(seen),
        f"sent {tally.sent:,} ({_rate(recent, SENT)})",
        f"rejected {tally.rejected.total():,}",
        f"waiting {tally.unacknowledged:,}",
        *(f"{hop} {_pair(recent, hop, 'ms')}" for hop in HOPS if hop in recent.percentiles),
    ]
    if "riders" in recent.levels:
        parts.append(f"riders {recent.levels['riders']:,.0f} told {_rate(recent, TOLD)}")
    parts += [f"{name} {words}" for name, words in seen.words.items()]
    parts += [f"FAULT {fault}" for fault in seen.faults]
    broken = _broken(seen)
    if broken:
        parts.append(f"BROKEN {', '.join(f'{each.name} {number(each.found)}' for each in broken)}")
    else:
        parts.append("nobody watches" if recent.levels.get("riders") == 0 else "no lie")
    return " · ".join(parts)


def screen(seen: Glance) -> Group:
    """All of it as a screen."""
    head = Text.assemble((seen.title, "bold"), "  ", (_time(seen), "cyan"))
    for fault in seen.faults:
        head.append(f"  ▲ {fault}", style="yellow")
    return Group(head, _table(seen), *_verdicts(seen))


def _table(seen: Glance) -> Table:
    recent, tally = seen.recent, seen.tally
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    rejected = tally.rejected.total() + tally.failed.total()
    table.add_row(
        "pings",
        f"{_rate(recent, SENT)}   {tally.sent:,} sent, {tally.accepted:,} accepted, {rejected:,} not, "
        f"{tally.unacknowledged:,} waiting, {tally.retries.total():,} retries",
    )
    table.add_row("", Text("half of all / 99 % of all", style="dim"))
    for hop in HOPS:
        curve = f"   {curve_of(seen.curve)}" if hop == RECEIVED else ""
        table.add_row(hop, f"{_pair(recent, hop, 'ms')}{curve}")
    riders = recent.levels.get("riders")
    if riders is not None:
        table.add_row("riders", f"{riders:,.0f} at the map, {_rate(recent, TOLD)} cars shown")
        table.add_row("shown", f"{_pair(recent, POSITION_ERROR, 'm')} off, {_pair(recent, STALENESS, 'ms')} old")
    for name, words in seen.words.items():
        table.add_row(name, words)
    for title, level, unit in _USES:
        uses = [f"{service} {amount(recent.levels[name], unit)}" for service, name in _told_by(recent, level)]
        if uses:
            table.add_row(title, ", ".join(uses))
    return table


def _verdicts(seen: Glance) -> list[Text]:
    broken = _broken(seen)
    if not broken:
        return [Text(f"✓ no bound of {len(seen.verdicts)} broken so far", style="green")] if seen.verdicts else []
    more = [Text(f"  and {len(broken) - _BROKEN_SHOWN} more", style="red")] if len(broken) > _BROKEN_SHOWN else []
    return [Text(f"✗ {each.words(seen.start_ms)}", style="red") for each in broken[:_BROKEN_SHOWN]] + more


def curve_of(values: Sequence[float | None]) -> str:
    """A curve of one letter a value, scaled to its highest; a gap where nothing is known."""
    top = max((value for value in values if value is not None), default=0.0)
    return "".join(
        " " if value is None else _BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] if top else _BARS[0]
        for value in values
    )


def _broken(seen: Glance) -> list[Verdict]:
    """What was found beyond its bound. What was not seen yet is no verdict while the run goes on."""
    return [verdict for verdict in seen.verdicts if not verdict.ok and verdict.found]


def _told_by(recent: Recent, level: str) -> list[tuple[str, str]]:
    """The services that tell of a level, and its whole name."""
    return [(name.partition("/")[2], name) for name in sorted(recent.levels) if name.startswith(f"{level}/")]


def _time(seen: Glance) -> str:
    if seen.duration_s is None:
        return clock(seen.at_s)
    if seen.at_s > seen.duration_s:
        return f"{clock(seen.at_s)}, ending since {clock(seen.duration_s)}"
    return f"{clock(seen.at_s)} of {clock(seen.duration_s)}"


def _rate(recent: Recent, name: str) -> str:
    return f"{recent.per_s.get(name, 0.0):,.0f}/s"


def _pair(recent: Recent, name: str, unit: str) -> str:
    """Half of all, and 99 % of all."""
    pair = recent.percentiles.get(name)
    return "–" if pair is None else f"{amount(round(pair[0], 1), unit)} / {amount(round(pair[1], 1), unit)}"
