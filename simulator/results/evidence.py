"""The table of verdicts, with the first case of each and what shows it, as HTML. Pure."""

from __future__ import annotations

from html import escape

from simulator.results.facts import as_list, number
from simulator.results.twin import Case, Document, Verdict

#: An epoch in ms, not a duration: after 2001.
_EPOCH_MS = 1_000_000_000_000


def verdicts(report: Document) -> str:
    rows = "".join(_row(report, verdict) for verdict in sorted(report.verdicts, key=lambda verdict: verdict.ok))
    return (
        '<h2>Verdicts</h2><div class="table"><table><tr><th></th><th>verdict</th><th class="n">found</th>'
        f'<th class="n">bound</th><th>first case</th></tr>{rows}</table></div>'
    )


def _row(report: Document, verdict: Verdict) -> str:
    mark, style = ("✓ kept", "yes") if verdict.ok else ("✗ broken", "no")
    case = ""
    if verdict.first is not None:
        more = "".join(f"<p>{_case(report, each)}</p>" for each in verdict.more)
        opened = "" if verdict.ok else " open"
        case = f"<details{opened}><summary>{_when(verdict.first)}</summary>{_evidence(report, verdict.first)}</details>"
        if more:
            case += f'<details><summary class="faint">{len(verdict.more)} more</summary>{more}</details>'
    return (
        f'<tr class="{style}"><td class="mark">{mark}</td><td>{escape(verdict.name)}</td>'
        f'<td class="n">{number(verdict.found)}</td><td class="n">{number(verdict.bound)}</td><td>{case}</td></tr>'
    )


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
