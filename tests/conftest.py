"""What every room's tests may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.trace import shared_data as find_shared_data


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real input; the test is skipped where it is absent, or fails if RIDESTREAM_REQUIRE_SHARED=1."""
    return find_shared_data()
