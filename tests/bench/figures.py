"""What a benchmark found: per round both sides, the ratio, its median and range; and how that is printed and kept."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.machine import MAX_GENERATOR_BUSY

BEGIN, END = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"


@dataclass(slots=True)
class Round:
    """One A/B pair. `ours` and `peer` in the row's unit; `busy` is the generator's core, per side."""

    ours: float
    peer: float
    busy_ours: float
    busy_peer: float
    generator_matters: bool = True
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """One benchmark. `higher_is_better` says whether a ratio above the gate or below it passes."""

    id: str
    title: str
    unit: str
    gate: float
    moonshot: float
    higher_is_better: bool = True
    rounds: list[Round] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    loadavg: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))

    def ratios(self) -> list[float]:
        return [each.ours / each.peer if each.peer else float("nan") for each in self.rounds]

    def ratio(self) -> float:
        return median(self.ratios())

    def typical(self, side: str, name: str) -> float:
        """The median over the rounds of a detail of `ours` or `peer`."""
        return float(median(each.detail[side][name] for each in self.rounds))

    def reaches(self, goal: float) -> bool:
        return self.ratio() >= goal if self.higher_is_better else self.ratio() <= goal

    def invalid_because(self) -> list[str]:
        """Why the row may not be believed; empty when it may."""
        return [
            f"round {turn}: the generator's core was {busy:.0%} busy ({side})"
            for turn, each in enumerate(self.rounds, 1)
            for side, busy in (("ours", each.busy_ours), ("peer", each.busy_peer))
            if each.generator_matters and busy > MAX_GENERATOR_BUSY
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "ratio": self.ratio(),
            "ratio_min": min(self.ratios()),
            "ratio_max": max(self.ratios()),
            "gate_reached": self.reaches(self.gate),
            "moonshot_reached": self.reaches(self.moonshot),
            "invalid_because": self.invalid_because(),
        }


def number(value: float) -> str:
    """Three significant places, thousands separated."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def goal(value: float, higher_is_better: bool) -> str:
    return f"{'≥' if higher_is_better else '≤'} {value:g}"


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table of docs/benchmarks.md from rows as `Row.as_json` gives them."""
    lines = [
        "| # | benchmark | ours | peer | unit | **ratio** (median) | range | gate | moonshot | reached |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = median(each["ours"] for each in row["rounds"])
        peer = median(each["peer"] for each in row["rounds"])
        reached = "moonshot" if row["moonshot_reached"] else "gate" if row["gate_reached"] else "**no**"
        if row["invalid_because"]:
            reached += " (invalid)"
        up = row["higher_is_better"]
        cells = [
            row["id"],
            row["title"],
            number(ours),
            number(peer),
            row["unit"],
            f"**{row['ratio']:.2f}**",
            f"{row['ratio_min']:.2f}–{row['ratio_max']:.2f} ({len(row['rounds'])})",
            goal(row["gate"], up),
            goal(row["moonshot"], up),
            reached,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(directory: Path, rows: list[dict[str, Any]], sitting: dict[str, Any]) -> None:
    """Merge rows into docs/benchmarks.json and regenerate the figures between the markers of docs/benchmarks.md.

    Raises ValueError when the document has lost its markers.
    """
    data_path, page_path = directory / "benchmarks.json", directory / "benchmarks.md"
    known = {row["id"]: row for row in json.loads(data_path.read_text())["rows"]} if data_path.exists() else {}
    for row in rows:
        known[row["id"]] = {**row, "sitting": sitting}
    merged = [known[key] for key in sorted(known, key=lambda id_: (int(id_.split()[0].rstrip("b")), id_))]
    data_path.write_text(json.dumps({"rows": merged}, indent=1, ensure_ascii=False) + "\n")
    page = page_path.read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page_path} has no `{BEGIN}` … `{END}`")
    page_path.write_text(f"{before}{BEGIN}\n{figures(merged)}\n{END}{after}")


def figures(rows: list[dict[str, Any]]) -> str:
    """Table, notes and the sittings they were measured in, as Markdown."""
    parts = [table(rows), ""]
    for row in rows:
        parts += [f"- **{row['id']}** {note}" for note in row["notes"]]
        if row["invalid_because"]:
            parts.append(f"- **{row['id']}** is invalid: {'; '.join(row['invalid_because'])}")
    parts.append("")
    for text in dict.fromkeys(sitting_text(row["sitting"]) for row in rows):
        ids = ", ".join(row["id"] for row in rows if sitting_text(row["sitting"]) == text)
        parts.append(f"Rows {ids}: {text}")
    return "\n".join(parts)


def sitting_text(sitting: dict[str, Any]) -> str:
    """Command, date, machine and versions of one run, in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in sitting["versions"].items())
    return (
        f"`{sitting['command']}` on {sitting['date']}; {sitting['cores']} cores, Linux {sitting['kernel']}; "
        f"load average before the start {sitting['loadavg_before']:.2f}. {versions}."
    )
