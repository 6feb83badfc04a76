"""What every room's tests may ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from infra.local import engines
from tests.oracle.trace import shared_data as find_shared_data

# Workers of pytest-xdist pick their ports apart: what one is told is free, another must not take before it is bound.
_WORKER = int((os.environ.get("PYTEST_XDIST_WORKER") or "gw0").removeprefix("gw")) % 8
_PORTS = len(engines.PICKED_PORTS) // 8
engines.PICKED_PORTS = engines.PICKED_PORTS[_WORKER * _PORTS : (_WORKER + 1) * _PORTS]

# A shell that runs us in the background has us ignore Ctrl-C, and every process that we start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, nothing about what is claimed.
settings.register_profile("ridestream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ridestream")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real input; the test is skipped where it is absent, or fails if RIDESTREAM_REQUIRE_SHARED=1."""
    return find_shared_data()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured (`record_property`), also of those that passed."""
    measured = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.user_properties and report.when == "call"
    ]
    if measured:
        terminalreporter.section("figures")
        for report in measured:
            figures = ", ".join(f"{name} {value}" for name, value in report.user_properties)
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {figures}")
