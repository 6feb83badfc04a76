"""What the page of a shared trip reads and reckons, against this project's own Python: polylines, and what is ahead."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import h3
import pytest
from playwright.sync_api import Browser, Page

from ingest.polylines import decode_polyline, encode_polyline
from tests.browser.ride import APPROACH, ROUTE, Point, Street, along

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
#: Up, around a block, and across its own beginning.
LOOP: list[Point] = [(40.750, -73.990), (40.754, -73.990), (40.754, -73.986), (40.752, -73.986), (40.752, -73.994)]


@pytest.fixture(scope="module")
def page(browser: Browser, street: Street) -> Iterator[Page]:
    opened = browser.new_page()
    opened.goto(f"{street.push.health_url}/share")
    yield opened
    opened.close()


def ahead(page: Page, way: list[Point], places: list[Point]) -> list[list[Point] | None]:
    """What is ahead of a car that is seen at these places, one after the other."""
    found: list[list[Any] | None] = page.evaluate(
        """async ([encoded, places]) => {
          const { Way } = await import("/web/share-way.js");
          const { worldOf, latLonOf } = await import("/web/fleet.js");
          const way = new Way(encoded);
          return places.map(([lat, lon]) => way.ahead(...worldOf(lat, lon))?.map(([x, y]) => latLonOf(x, y)) ?? null);
        }""",
        [encode_polyline(way), places],
    )
    return [None if points is None else [(lat, lon) for lat, lon in points] for points in found]


def length_m(points: list[Point] | None) -> float:
    assert points is not None
    return sum(h3.great_circle_distance(a, b, unit="m") for a, b in itertools.pairwise(points))


def test_every_polyline_is_read_as_the_server_reads_it(page: Page) -> None:
    rng = random.Random(7)
    rim = [(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0), (0.00001, -0.00001)]
    ways = [[], rim] + [
        [(round(rng.uniform(-90, 90), 5), round(rng.uniform(-180, 180), 5)) for _ in range(rng.randint(1, 30))]
        for _ in range(300)
    ]
    texts = [encode_polyline(way) for way in ways]
    code = 'async (texts) => { const { decode } = await import("/web/share-way.js"); return texts.map(decode); }'
    read = page.evaluate(code, texts)
    for points, text in zip(read, texts, strict=True):
        assert [tuple(point) for point in points] == decode_polyline(text)
    assert page.evaluate(code, ["_p~iF~ps|", "\x1f", "~" * 40 + " "]) == [[], [], []], "what is none is no way at all"


def test_what_is_ahead_grows_shorter_by_what_is_driven(page: Page) -> None:
    for way in (APPROACH, ROUTE, LOOP):
        whole_m = length_m(way)
        driven_m = [whole_m * part / 60 for part in range(60)]
        places = [along(way, metres)[:2] for metres in driven_m]
        for metres, points in zip(driven_m, ahead(page, way, places), strict=True):
            assert length_m(points) == pytest.approx(whole_m - metres, abs=5)


def test_a_car_that_is_off_the_way_has_nothing_ahead_until_it_is_back(page: Page) -> None:
    on, off, back = along(ROUTE, 500)[:2], (40.757, -73.990), along(ROUTE, 2_500)[:2]
    found = ahead(page, ROUTE, [on, off, back])
    assert found[1] is None
    assert length_m(found[2]) == pytest.approx(length_m(ROUTE) - 2_500, abs=5)
