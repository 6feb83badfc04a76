"""Read settings from RIDESTREAM_* variables, one small frozen class per concern, and say what is wrong with one."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RIDESTREAM_"

#: Partitions of the driver topics; at most so many workers share the work. A worker indexes some 50,000 pings a second
#: (docs/benchmarks.md), and each partition costs every few milliseconds a frame of its own, all the way to Redis.
DEFAULT_PARTITIONS = 2


class SettingsError(ValueError):
    """A variable holds something unusable; the message is one line for an operator."""


class Settings(BaseSettings):
    """Base of every settings class: variables are RIDESTREAM_<FIELD>, unknown ones are ignored."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")


class PartitionSettings(Settings):
    """How the topics of drivers are cut; who looks a driver up in Redis must know it too."""

    partitions: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="Partitions of driver.pings and trip.events, and the most workers that can share them; "
            "the same on every service, and for good.",
        ),
    ] = DEFAULT_PARTITIONS


class KafkaSettings(PartitionSettings):
    """Where Kafka is."""

    kafka: Annotated[str, Field(description="Kafka bootstrap servers, host:port, comma separated.")] = "127.0.0.1:9092"
    replication_factor: Annotated[
        int, Field(ge=1, le=7, description="Replicas of each topic that `ridestream topics` creates.")
    ] = 1


class RedisSettings(Settings):
    """Where the index lives."""

    redis: Annotated[str, Field(description="Redis or Valkey address, redis://host:port/db.")] = (
        "redis://127.0.0.1:6379/0"
    )


class ClockSettings(Settings):
    """What "now" means for fixes; see docs/decisions for why it is a setting."""

    clock: Annotated[
        str,
        Field(
            description="`wall`, or `replay:event_start_ms=…,event_end_ms=…,speed=…,wall_start_ms=…` "
            "while a recorded trace is replayed."
        ),
    ] = "wall"


class IdentitySettings(Settings):
    """How bearer tokens are verified: one algorithm, one key, nothing taken from the token's own header."""

    jwt_algorithm: Annotated[
        str,
        Field(pattern="^(HS256|RS256|ES256|EdDSA)$", description="The one accepted signature algorithm."),
    ] = "HS256"
    jwt_key: Annotated[
        str,
        Field(
            repr=False,
            description="Shared secret of at least 32 bytes (HS256), or the PEM public key. No default: "
            "a service without it refuses to start.",
        ),
    ] = ""


class LogSettings(Settings):
    """What a service writes about itself."""

    log_level: Annotated[
        str, Field(pattern="^(debug|info|warning|error)$", description="Least severe level that is logged.")
    ] = "info"


S = TypeVar("S", bound=BaseSettings)


def load(cls: type[S]) -> S:
    """Build `cls` from the environment. Raises SettingsError naming the variable and what it may hold."""
    try:
        return cls()
    except ValidationError as error:
        raise SettingsError(
            "; ".join(
                f"{PREFIX}{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            )
        ) from None
