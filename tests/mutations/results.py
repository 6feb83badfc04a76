"""Judge the runs and show them: was each mutation named by its verdict, and did the system as it is pass? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.mutations.edits import Mutation, World
from tests.mutations.runs import Finding, Outcome, Verdict

#: Evidence in a table is cut to this many characters; the run's report has all of it.
MOST_EVIDENCE = 160
#: What says in words what is wrong.
WORDS = ("why", "what")
#: Of what the evidence names, this helps a reader who has no run to look into: no times of day, no ids, no places.
TELLING = (
    "age_ms", "backwards_ms", "late_ms", "off_m", "apart_m", "from_rider_m", "radius_m", "cars_shown", "limit",
    "told_as", "freshness", "times", "missing", "expected", "verdict", "state", "place",
)  # fmt: skip


def naming(mutation: Mutation, outcome: Outcome) -> Verdict | None:
    """The broken verdict that names the mutation, if the run failed as it must."""
    if outcome.exit_code != 1:
        return None
    return next((verdict for verdict in outcome.broken if verdict.name == mutation.verdict), None)


def evidence(finding: Finding) -> str:
    """The first case in words: what is wrong, and the figures that show it."""
    found = finding.evidence
    words = [str(found[name]) for name in WORDS if name in found]
    words += [f"{name} {_plain(found[name])}" for name in TELLING if name in found]
    told = "; ".join(words)
    return f"{finding.at_s:.1f} s: {told if len(told) <= MOST_EVIDENCE else told[:MOST_EVIDENCE] + ' …'}"


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def said(name: str, outcome: Outcome) -> str:
    """One run, for whoever watches."""
    broken = ", ".join(f"{verdict.name} {verdict.found or 0:g}" for verdict in outcome.broken) or "nothing broken"
    lines = [f"{name}: exit code {outcome.exit_code}; {broken}"]
    lines += [f"    {verdict.name}: {evidence(verdict.first)}" for verdict in outcome.broken if verdict.first]
    if outcome.trouble:
        lines.append(f"    {outcome.trouble}")
    return "\n".join(lines)


def rows(mutations: Iterable[Mutation], outcomes: Mapping[str, Outcome]) -> str:
    """The table of mutations."""
    lines = ["| mutation | changed | played | named by | first case | broken too |", "|---|---|---|---|---|---|"]
    lines += [_row(mutation, outcomes[mutation.name]) for mutation in mutations]
    return "\n".join(lines)


def _row(mutation: Mutation, outcome: Outcome) -> str:
    verdict = naming(mutation, outcome)
    named = f"`{mutation.verdict}`, {verdict.found or 0:,g}" if verdict else f"**not** by `{mutation.verdict}`"
    first = evidence(verdict.first) if verdict and verdict.first else ""
    columns = (
        f"`{mutation.name}`: {mutation.says}",
        ", ".join(f"`{path}`" for path in mutation.files),
        mutation.world.name,
        named,
        first.replace("|", "\\|"),
        ", ".join(f"`{one.name}`" for one in outcome.broken if one.name != mutation.verdict),
    )
    return f"| {' | '.join(columns)} |"


def controls(worlds: Iterable[World], outcomes: Mapping[str, Outcome]) -> str:
    """The table of what is played, and that the system as it is passes it."""
    lines = ["| played | scenario | with | the system as it is |", "|---|---|---|---|"]
    for world in worlds:
        settings = [f"`{name}={value}`" for name, value in world.settings.items()]
        settings += [f"a fault in `{edit.path}`" for edit in world.faults]
        passed = "passes" if outcomes[world.name].passed else "**fails**"
        lines.append(f"| {world.name} | `{world.scenario}.toml` | {', '.join(settings)} | {passed} |")
    return "\n".join(lines)
