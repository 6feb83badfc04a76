"""The report for people: one HTML file that fetches nothing, light or dark as its reader likes, the twin inside."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from simulator.results.accounts import accounts, percentiles, repetition
from simulator.results.evidence import verdicts
from simulator.results.facts import amount, clock, percentile, plain
from simulator.results.panels import Group, Panel, groups_of, limits
from simulator.results.plots import FRAME, draw
from simulator.results.recorder import RECEIVED
from simulator.results.twin import Document, encode

#: Nothing may be fetched from anywhere, whatever a scenario's title or a finding holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'"
#: Below a tenth of a millisecond nothing is worth a decade of the plot.
_LEAST_SHOWN_MS = 0.1


def page(report: Document) -> str:
    """The whole file. Raises PlotsMissing without matplotlib."""
    groups = groups_of(report)
    left, bottom, width, height = FRAME
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
            f"<title>{report.result}: {escape(report.run.title)}</title><style>{_asset('report.css')}</style></head>",
            f'<body data-end="{report.ends_at_s:g}" data-frame="{left} {bottom} {width} {height}">',
            _head(report),
            verdicts(report),
            _faults(report),
            *(_group(report, group) for group in groups),
            percentiles(report),
            accounts(report),
            repetition(report),
            '<div id="at"></div><script type="application/json" id="report">',
            # In a script element only "</" and "<!--" mean something; JSON can say "<" in another way.
            encode(report).decode().strip().replace("<", "\\u003c"),
            f"</script><script>{_asset('report.js')}</script></body></html>\n",
        ]
    )


def _asset(name: str) -> str:
    return files("simulator.results").joinpath(name).read_text(encoding="utf-8")


def _head(report: Document) -> str:
    broken = [verdict for verdict in report.verdicts if not verdict.ok]
    words = {
        "passed": f"bounds kept: {len(report.verdicts)} of {len(report.verdicts)}",
        "failed": f"bounds broken: {len(broken)} of {len(report.verdicts)}",
        "interrupted": "stopped before its end",
    }
    received = report.summaries.get(RECEIVED)
    per_s = report.pings.sent / report.elapsed_s if report.elapsed_s else 0.0
    cards = [
        (f"{report.pings.sent:,}", f"pings, {per_s:,.0f} a second"),
        (percentile(received, "p50"), "due to rider, half of all"),
        (percentile(received, "p99"), "due to rider, 99 % of all"),
        *((plain(report.riders[name]), words) for name, words in _CARDS.items() if name in report.riders),
        *((plain(report.trips[name]), f"trips {name}") for name in ("requested", "done") if name in report.trips),
    ]
    items = "".join(f"<li><b>{escape(big)}</b><span>{escape(small)}</span></li>" for big, small in cards)
    return (
        f"<header><div><h1>{escape(report.run.title)}</h1>"
        f'<p class="faint">Scenario {escape(report.run.scenario)}, seed {report.run.seed}, '
        f"{clock(report.elapsed_s)} from {escape(report.started_at)}, on {escape(report.machine.processor)} "
        f"({report.machine.cores} cores)</p></div>"
        f'<div class="badge {report.result}" style="flex:none">{report.result.capitalize()}'
        f"<small>{words[report.result]}</small></div></header>"
        f'<ul class="figures">{items}</ul>'
    )


_CARDS = {"riders": "riders at the map", "updates": "updates at riders"}


def _faults(report: Document) -> str:
    if not report.faults:
        return ""
    end_s = report.ends_at_s
    lanes = "".join(
        f'<li class="lane"><span>{escape(fault.words)} <span class="faint">{clock(fault.from_s)} to '
        f'{clock(fault.until_s)}</span></span><span class="track"><i style="left:{_share(fault.from_s, end_s)}%;'
        f'right:{100 - _share(fault.until_s, end_s)}%"></i></span></li>'
        for fault in report.faults
    )
    return f'<h2>Broken on purpose</h2><p class="faint">Shaded in every plot.</p><ul class="faults">{lanes}</ul>'


def _share(at_s: float, end_s: float) -> float:
    return round(min(100.0, max(0.0, at_s / end_s * 100)), 2)


def _group(report: Document, group: Group) -> str:
    figures = "".join(_figure(report, group, panel) for panel in group.panels)
    return f'<h2>{escape(group.title)}</h2><div class="panels">{figures}</div>'


def _figure(report: Document, group: Group, panel: Panel) -> str:
    between = limits(report, group.panels, panel.scale, _LEAST_SHOWN_MS) if panel.logarithmic else None
    legend = "".join(
        f'<span><i style="background:var(--c{line.colour})"></i>{escape(line.label)} '
        f'<b data-series="{escape(line.series)}" data-column="{line.column}" data-unit="{panel.unit}">'
        f"{_overall(report, line.series, line.column, panel.unit)}</b></span>"
        for line in panel.lines
        if line.series in report.series
    )
    if panel.bound is not None:
        legend += (
            f'<span><i style="background:var(--bad)"></i>bound of p99 <b>{amount(panel.bound, panel.unit)}</b></span>'
        )
    return (
        f"<figure><figcaption><b>{escape(panel.title)}</b><small>{escape(panel.says)}</small>"
        f'<span class="legend">{legend}</span></figcaption>'
        f'<div class="plot" role="img" aria-label="{escape(panel.title)} over time">'
        f'{draw(report, panel, between)}<div class="cursor"></div></div></figure>'
    )


def _overall(report: Document, name: str, column: str, unit: str) -> str:
    """What the legend says of the whole run: its percentile, or the mean of a rate or level."""
    summary = report.summaries.get(name)
    if summary is not None:
        value: float | None = getattr(summary, column)
    else:
        values = [each for each in report.series[name].columns[column] if each is not None]
        value = sum(values) / len(values) if values else None
    return "–" if value is None else amount(value, unit)
