"""The table of verdicts, with the first case of each and what shows it, as HTML. Pure."""

from __future__ import annotations

from html import escape

from simulator.results.facts import as_list, number
from simulator.results.twin import Case, Document, Verdict

#: An epoch in ms, not a duration: after 2001.
_EPOCH_MS = 1_000_000_000_000


def verdicts(report: Document) -> str:
    """Broken bounds first, each with its first case; then what was kept, in short."""
    broken = "".join(_row(report, verdict) for verdict in report.verdicts if not verdict.ok)
    kept = "".join(_row_in_short(report, verdict) for verdict in report.verdicts if verdict.ok)
    table = (
        '<div class="table"><table><tr><th></th><th>verdict</th><th class="n">found</th><th class="n">bound</th>'
        f"<th>first case</th></tr>{broken}</table></div>"
        '<p class="faint">A dotted red line in the plots marks the first case.</p>'
    )
    return f'<h2>Verdicts</h2>{table if broken else ""}<ul class="kept">{kept}</ul>'


def _row(report: Document, verdict: Verdict) -> str:
    return (
        f'<tr class="no"><td class="mark">✗ broken</td><td>{escape(verdict.name)}</td>'
        f'<td class="n">{number(verdict.found)}</td><td class="n">{_bound(verdict)}</td>'
        f"<td>{_cases(report, verdict)}</td></tr>"
    )


def _row_in_short(report: Document, verdict: Verdict) -> str:
    found = (
        ""
        if verdict.first is None
        else f"<details><summary>first case</summary>{_case(report, verdict.first)}</details>"
    )
    return (
        f'<li><span class="mark">✓</span> {escape(verdict.name)} <b>{number(verdict.found)}</b> '
        f'<span class="faint">{_bound(verdict)}</span>{found}</li>'
    )


def _cases(report: Document, verdict: Verdict) -> str:
    if verdict.first is None:
        return ""
    more = "".join(f"<p>{_case(report, case)}</p>" for case in verdict.more)
    others = f'<details><summary class="faint">{len(verdict.more)} more</summary>{more}</details>' if more else ""
    return f"{_case(report, verdict.first)}{others}"


def _bound(verdict: Verdict) -> str:
    return f"{'≥' if verdict.at_least else '≤'} {number(verdict.bound)}"


def _case(report: Document, case: Case) -> str:
    return _when(case) + _evidence(report, case)


def _when(case: Case) -> str:
    about = f", car {escape(case.driver_id)}" if case.driver_id else ""
    return f"{case.at_s:,.3f} s into the run, {escape(case.who)}{about}"


def _evidence(report: Document, case: Case) -> str:
    return as_list({name: _moment(report, name, value) for name, value in case.evidence.items()})


def _moment(report: Document, name: str, value: object) -> object:
    """A person compares moments of the run, not epochs."""
    if name.endswith("_ms") and isinstance(value, int | float) and value > _EPOCH_MS:
        return f"{(value - report.start_ms) / 1_000:,.3f} s into the run ({value:.0f})"
    return value
