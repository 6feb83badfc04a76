"""A seat: what one subscription to the live map shows on one rider's screen, and whether it may be judged now."""

from dataclasses import dataclass, field

from simulator.riders.view import SeenCar


@dataclass(slots=True)
class Seat:
    """One rider's view of one circle."""

    rider: str
    lat: float
    """Centre of the circle the rider asked for, degrees."""
    lon: float
    radius_m: float
    limit: int
    """Most cars it is shown: the nearest."""
    cars: dict[str, SeenCar] = field(default_factory=dict)
    """The cars on the screen, as last told, by driver."""
    settled_since_ms: int | None = None
    """Since when (epoch milliseconds) it has been connected, subscribed *here*, and reading; None while it is not.

    Set by the rider at each snapshot that follows a connect or a move of the circle."""
