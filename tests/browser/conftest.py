"""One browser, one city and one street for the module; each visitor has a profile of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from infra.local.services import Service
from push.shares import Share
from tests.browser.chromium import chromium
from tests.browser.city import City, city
from tests.browser.ride import Ride, Street
from tests.browser.ride import street as running_street
from tests.browser.viewer import Viewer
from tests.browser.visitor import Visitor

Visit = Callable[..., Visitor]
Open = Callable[..., Viewer]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def revive(push: Service) -> None:
    """A test that failed may have left it dead; the next one is not to fail for that."""
    if not push.running:
        push.start().wait_ready()


@pytest.fixture(scope="module")
def town(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    # `browser` first: without one there is nothing to look at the city with.
    with city(tmp_path_factory.mktemp("city")) as running:
        yield running


@pytest.fixture
def visit(browser: Browser, town: City) -> Iterator[Visit]:
    """`visit()` opens the map; `visit(width=390, ...)` as somebody else. Keyword arguments are Playwright's."""
    revive(town.push)
    contexts = []

    def open_map(width: int = 1000, height: int = 700, url: str = town.push.health_url, **options: Any) -> Visitor:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        return Visitor(context.new_page()).open(url)

    yield open_map
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def street(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with running_street(tmp_path_factory.mktemp("street")) as running:
        yield running


@pytest.fixture
def view(browser: Browser, street: Street) -> Iterator[Open]:
    """`view(ride)` opens a new link of a trip, `view(ride, share)` that one; keyword arguments are Playwright's."""
    revive(street.push)
    contexts = []

    def open_link(
        ride: Ride | None = None, share: Share | None = None, url: str = "", width: int = 1000, height: int = 700,
        **options: Any,
    ) -> Viewer:  # fmt: skip
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        viewer = Viewer(context.new_page())
        viewer.open(street.link(share or street.share(ride)) if ride is not None else url)
        return viewer

    yield open_link
    for context in contexts:
        context.close()
