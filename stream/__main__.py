"""`python -m stream worker` folds and indexes; `verdicts` and `index` show an operator what Redis holds."""

from __future__ import annotations

import argparse
import asyncio
import csv
import gc
import json
import os
import socket
import sys
from pathlib import Path

import uvloop
from redis.exceptions import RedisError

from infra.clock import parse_clock
from infra.redis import connect
from infra.settings import RedisSettings, load
from infra.telemetry import announce_build, configure_logging
from stream import audit
from stream.settings import StreamSettings
from stream.zones import Zones


def worker() -> int:
    """Settings, clock, Redis, listener, run."""
    settings = load(StreamSettings)
    clock = parse_clock(settings.clock)
    if settings.gone_after_ms <= settings.stale_after_ms:
        raise ValueError("RIDESTREAM_GONE_AFTER_MS must be above RIDESTREAM_STALE_AFTER_MS")
    if settings.trip_lost_after_ms <= settings.trip_stale_after_ms:
        raise ValueError("RIDESTREAM_TRIP_LOST_AFTER_MS must be above RIDESTREAM_TRIP_STALE_AFTER_MS")
    if settings.departure_radius_m < settings.arrival_radius_m:
        raise ValueError("RIDESTREAM_DEPARTURE_RADIUS_M must not be below RIDESTREAM_ARRIVAL_RADIUS_M")
    zones = _zones(settings.zones_geojson)
    client = connect(settings.redis, settings.redis_timeout_s)
    at = (settings.stream_metrics_host, settings.stream_metrics_port)
    try:
        listener = socket.create_server(at)
    except OSError as error:
        raise ValueError(f"cannot listen on {at[0]}:{at[1]} (RIDESTREAM_STREAM_METRICS_PORT): {error}") from None
    configure_logging("stream", settings.log_level)
    announce_build("stream")
    from stream.worker import Worker  # loads Faust, which only the worker needs

    async def run() -> int:
        return await Worker(settings, client, clock, listener, zones).run()

    # A frame makes some thousand objects that live on: full collections over all drivers must be rare.
    gc.set_threshold(50_000, 20, 50)
    return int(uvloop.run(run()))


def _zones(path: str) -> Zones | None:
    if not path:
        return None
    try:
        return Zones.parse(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"RIDESTREAM_ZONES_GEOJSON: {error}") from None


async def _show(what: str) -> None:
    client = connect(load(RedisSettings).redis, timeout_s=10.0)
    try:
        if what == "verdicts":
            print(json.dumps(await audit.verdicts(client)))
            return
        out = csv.writer(sys.stdout)
        out.writerow(["driver_id", "fix_time_ms", "lat", "lon", "cell", "region"])
        for region, car in await audit.cars(client):
            out.writerow([car.driver_id, car.fix_time_ms, car.lat, car.lon, f"{car.cell:x}", f"{region:x}"])
    finally:
        await client.aclose()


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 2 for a misconfiguration."""
    parser = argparse.ArgumentParser(prog="ridestream stream", description=__doc__)
    parser.add_argument("verb", choices=["worker", "verdicts", "index"])
    verb = parser.parse_args(arguments).verb
    try:
        if verb == "worker":
            return worker()
        asyncio.run(_show(verb))
    except ValueError as error:
        print(f"ridestream stream: {error}", file=sys.stderr)
        return 2
    except RedisError as error:
        print(f"ridestream stream: Redis does not answer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Faust's threads may still be closing connections; nothing that they do matters any more.
    os._exit(code)
