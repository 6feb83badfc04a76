"""The pages lead somewhere: every relative link has a target, and the benchmarks hold figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FIGURES = re.compile(r"<!-- figures:.*?-->(.*?)<!-- end of figures -->", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_of_a_page_has_a_target(page: Path) -> None:
    links = [link.partition("#")[0] for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_the_benchmarks_hold_a_figure_for_every_row() -> None:
    (figures,) = _FIGURES.findall((ROOT / "docs" / "benchmarks.md").read_text())
    rows = set(re.findall(r"^\| *(\d+b?)\b", figures, re.MULTILINE))
    assert rows >= {"1", "2", "3", "3b", "5", "8"}


def test_every_default_that_a_page_names_is_the_setting() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text()
    defaults = dict(re.findall(r"^\| `(RIDESTREAM_\w+)` \| `([\d.]+)` \|", table, re.MULTILINE))
    in_ms = {"h": 3_600_000, "s": 1_000}
    named = [
        (page.name, name, float(value.replace(",", "")) * (in_ms.get(unit, 1) if name.endswith("_MS") else 1))
        for page in PAGES
        for name, value, unit in re.findall(
            r"`(RIDESTREAM_\w+)`(?: partitions each)? \((\d[\d,.]*)\b ?(\w*)", page.read_text()
        )
    ]
    assert len(named) > 3
    assert [each for each in named if each[2] != float(defaults[each[1]])] == []
