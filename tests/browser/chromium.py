"""The Chromium that browser tests drive: the machine's own, headless, offline but for the page's server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: It starts in a second where nothing else is done.
STARTS_WITHIN_MS = 120_000.0


def find_chromium() -> str:
    """RIDESTREAM_CHROMIUM, or `chromium` on PATH. Skips the test without one; fails it if
    RIDESTREAM_REQUIRE_BROWSER=1."""
    found = os.environ.get("RIDESTREAM_CHROMIUM") or shutil.which("chromium")
    if found is None:
        say = pytest.fail if os.environ.get("RIDESTREAM_REQUIRE_BROWSER") == "1" else pytest.skip
        say("no Chromium: install the system package chromium, or set RIDESTREAM_CHROMIUM to its path")
    return str(found)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a fresh profile."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=STARTS_WITHIN_MS)
        yield browser
        browser.close()
