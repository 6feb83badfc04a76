"""What a local run takes from the environment."""

from __future__ import annotations

import pytest

from infra.local.plan import Misconfigured, plan
from infra.local.services import SERVICES
from ingest.settings import IngestSettings
from push.settings import PushSettings
from stream.settings import StreamSettings

FRESH = "a-fresh-key"


def test_without_any_variable_both_engines_are_started_and_the_fresh_key_signs() -> None:
    made = plan({}, SERVICES, FRESH)
    assert (made.kafka, made.redis, made.env["RIDESTREAM_JWT_KEY"]) == (None, None, FRESH)


def test_what_the_operator_has_set_is_kept() -> None:
    given = {
        "RIDESTREAM_KAFKA": "kafka:9092",
        "RIDESTREAM_REDIS": "redis://redis:6379/0",
        "RIDESTREAM_JWT_KEY": "mine",
        "RIDESTREAM_INGEST_PORT": "18080",
        "RIDESTREAM_GUEST_RIDERS": "false",
        "RIDESTREAM_DRAIN_S": "7",
    }
    made = plan(given, SERVICES, FRESH)
    assert (made.kafka, made.redis) == ("kafka:9092", "redis://redis:6379/0")
    assert {name: made.env[name] for name in given if name in made.env} == {
        name: value for name, value in given.items() if name not in ("RIDESTREAM_KAFKA", "RIDESTREAM_REDIS")
    }
    assert made.port("RIDESTREAM_INGEST_PORT") == 18080


def test_short_group_times_are_for_the_embedded_broker_only() -> None:
    assert plan({}, SERVICES, FRESH).env["RIDESTREAM_REBALANCE_TIMEOUT_S"] == "3"
    assert "RIDESTREAM_REBALANCE_TIMEOUT_S" not in plan({"RIDESTREAM_KAFKA": "kafka:9092"}, SERVICES, FRESH).env


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "80.0", " 80", "٨٠"])
def test_a_port_that_is_none_is_named_with_its_variable(value: str) -> None:
    with pytest.raises(Misconfigured, match="RIDESTREAM_PUSH_PORT must be a port, 1 to 65535"):
        plan({"RIDESTREAM_PUSH_PORT": value}, SERVICES, FRESH)


def test_two_services_cannot_have_one_port() -> None:
    with pytest.raises(Misconfigured, match="RIDESTREAM_PUSH_PORT and RIDESTREAM_INGEST_PORT are both 8080"):
        plan({"RIDESTREAM_PUSH_PORT": "8080"}, SERVICES, FRESH)


def test_the_ports_that_infra_assumes_are_the_services_own_defaults() -> None:
    fields = IngestSettings.model_fields | StreamSettings.model_fields | PushSettings.model_fields
    for kind in SERVICES:
        for variable, default in kind.ports.items():
            assert fields[variable.removeprefix("RIDESTREAM_").lower()].default == default


def test_every_variable_that_a_local_run_sets_is_one_that_a_service_reads() -> None:
    fields = IngestSettings.model_fields | StreamSettings.model_fields | PushSettings.model_fields
    assert {name.removeprefix("RIDESTREAM_").lower() for name in plan({}, SERVICES, FRESH).env} <= set(fields)
