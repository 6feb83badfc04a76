"""What push counts. Hot loops count in plain integers; a turn publishes them once."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

#: From one event loop's turn to a rider who waits minutes for a car.
AGE_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
WORK_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class FeedMetrics:
    """A mirror's side. `kind` is what is mirrored: `region` or `trip`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY, kind: str = "region") -> None:
        self.kind = kind
        self.deltas = Counter(f"push_{kind}_deltas_total", f"Changes of a {kind} received.", registry=registry)
        self.reads = Counter(f"push_{kind}_reads_total", f"Times a {kind} was read from Redis.", registry=registry)
        self.gaps = Counter(f"push_{kind}_gaps_total", f"Times a change of a {kind} was missing.", registry=registry)
        losses = "push_redis_losses_total" if kind == "region" else f"push_{kind}_redis_losses_total"
        self.reconnects = Counter(losses, f"Times the {kind} feed lost Redis.", registry=registry)


class RiderMetrics:
    """The riders' side."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.connections = Gauge("ws_connections", "Open connections of authenticated riders.", registry=registry)
        self.subscriptions = Gauge("ws_subscriptions", "Subscriptions of all riders.", registry=registry)
        self.queries = Gauge("push_standing_queries", "Distinct standing queries.", registry=registry)
        self.drivers = Gauge("push_mirrored_drivers", "Drivers the mirror knows.", registry=registry)
        self.messages = Counter("ws_messages_sent_total", "Messages sent, by type.", ["type"], registry=registry)
        self.trips = Gauge("ws_trip_subscriptions", "Trip subscriptions of all riders.", registry=registry)
        self.watched = Gauge("push_mirrored_trips", "Trips the mirror knows.", registry=registry)
        self.trip_events = Counter("ws_trip_events_sent_total", "Trip events sent.", registry=registry)
        self.resumes = Counter(
            "ws_resumes_total", "Trips that were watched before, by how they went on.", ["mode"], registry=registry
        )
        self.steps = Counter(
            "ws_ladder_steps_total", "Riders who came to a step of the slow ladder.", ["step"], registry=registry
        )
        self.positions = Counter("ws_positions_sent_total", "Car positions sent.", registry=registry)
        self.conflated = Counter(
            "ws_positions_conflated_total", "Car positions that a newer one replaced before they were sent.",
            registry=registry,
        )  # fmt: skip
        self.disconnects = Counter("ws_disconnects_total", "Connections ended, by code.", ["code"], registry=registry)
        self.age = Histogram(
            "ride_ping_age_seconds", "From ingest's receipt of a ping to here (sampled).", ["stage"],
            buckets=AGE_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.nearby = Histogram(
            "ride_nearby_duration_seconds", "Time to answer a new or moved nearby query.",
            buckets=WORK_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.turn = Histogram(
            "push_turn_duration_seconds", "Work of one tick: settle, evaluate, flush.",
            buckets=WORK_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.loop_lag = Histogram(
            "push_event_loop_lag_seconds", "How late the event loop ran a timer.",
            buckets=WORK_BUCKETS_S, registry=registry,
        )  # fmt: skip
