"""What a rider's app believes after each message, and the promises it may rely on."""

from __future__ import annotations

import json
from typing import Any


class View:
    """Folds the messages of one subscription; asserts what docs/wire/websocket.md promises."""

    def __init__(self) -> None:
        self.seq = 0
        self.cars: dict[str, dict[str, Any]] = {}
        self.newest_ms: dict[str, int] = {}  # newest fix ever seen of each driver

    def fold(self, message: bytes | dict[str, Any]) -> None:
        body = message if isinstance(message, dict) else json.loads(message)
        assert body["seq"] == self.seq + 1
        self.seq += 1
        if body["type"] == "snapshot":
            self.cars = {}
            body = {"enter": body["cars"], "move": [], "leave": []}
        for car in body["enter"]:
            assert car["driver_id"] not in self.cars, "entered twice"
        for car in body["move"]:
            assert car["driver_id"] in self.cars, "moved before it entered"
        for car in body["enter"] + body["move"]:
            assert car["fix_time_ms"] >= self.newest_ms.get(car["driver_id"], 0), "a car moved backwards in time"
            assert car["age_ms"] >= 0
            self.newest_ms[car["driver_id"]] = car["fix_time_ms"]
            self.cars[car["driver_id"]] = car
        for driver_id in body["leave"]:
            del self.cars[driver_id]
