"""The tables of a run: percentiles of all of it, accounts of pings, riders and trips, and how to repeat it. Pure."""

from __future__ import annotations

from html import escape

from simulator.results.facts import as_list, percentile
from simulator.results.recorder import HOPS
from simulator.results.twin import Document

_ROWS = {"ingest_inside": "inside ingest", "position_error": "position error", "staleness": "age of what is shown"}


def percentiles(report: Document) -> str:
    names = [*HOPS, *(name for name in report.summaries if name not in HOPS)]
    rows = "".join(
        f"<tr><td>{escape(_ROWS.get(name, name))}</td><td class='n'>{summary.count:,}</td>"
        + "".join(
            f"<td class='n'>{percentile(summary, column)}</td>" for column in ("p50", "p90", "p99", "p999", "max")
        )
        + f"<td class='faint'>{_PRECISION[summary.precision]}</td></tr>"
        for name in names
        if (summary := report.summaries.get(name)) is not None
    )
    return (
        '<h2>The whole run</h2><div class="table"><table><tr><th></th><th class="n">counted</th><th class="n">p50</th>'
        '<th class="n">p90</th><th class="n">p99</th><th class="n">p99.9</th>'
        '<th class="n">most</th><th>precision</th></tr>'
        f"{rows}</table></div>"
        '<p class="faint">ingest and received count from when a ping was due, so all waiting is in them; indexed, '
        "pushed and inside ingest are the services' own histograms and count from ingest's receipt.</p>"
    )


_PRECISION = {"exact": "at most 1 % high", "buckets": "to a bucket of the service"}


def accounts(report: Document) -> str:
    pings = report.pings
    accounts: dict[str, object] = {"sent": pings.sent, "accepted": pings.accepted, "rejected": pings.rejected}
    accounts |= {f"rejected, {reason}": count for reason, count in pings.rejected_by_reason.items()}
    accounts["failed"] = pings.failed
    accounts |= {f"failed, {reason}": count for reason, count in pings.failed_by_reason.items()}
    accounts |= {"unacknowledged": pings.unacknowledged, "posts": pings.posts, "retries": pings.retries}
    accounts |= {f"retried, {reason}": count for reason, count in pings.retries_by_reason.items()}
    facts = [("Pings", accounts), ("Riders", report.riders), ("Trips", report.trips)]
    cards = "".join(f'<div class="fact"><h3>{title}</h3>{as_list(known)}</div>' for title, known in facts if known)
    return f'<h2>Accounts</h2><div class="two">{cards}</div>'


def repetition(report: Document) -> str:
    machine = report.machine
    where = {
        "processor": machine.processor,
        "cores": machine.cores,
        "memory": f"{machine.memory_mib:,} MiB",
        "system": machine.system,
        "python": machine.python,
        "load average at the start": machine.load_average,
    }
    services = {f"service {name}": version for name, version in report.services.items()}
    return (
        f"<h2>To repeat it</h2><pre>{escape(report.run.command)}</pre>"
        f'<div class="two" style="margin-top:14px"><div class="fact"><h3>Machine</h3>{as_list(where)}</div>'
        f'<div class="fact wide"><h3>Versions</h3>{as_list({**report.versions, **services})}</div></div>'
        f"<details style='margin-top:14px'><summary>The scenario, {escape(report.run.scenario)}.toml</summary>"
        f"<pre>{escape(report.run.scenario_toml)}</pre></details>"
    )
