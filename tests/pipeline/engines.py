"""The pairs of engines the pipeline is tested on: those of `make run`, and Apache Kafka with redis-server 7."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.local.apache_kafka import apache_kafka, java, resolve_classpath
from infra.local.engines import TANSU, VALKEY, EngineKind, EngineMissing, redis_answers, redis_server


@dataclass(frozen=True, slots=True)
class EnginePair:
    """A Kafka, given a directory of its own, and a Redis."""

    name: str
    kafka: Callable[[Path], EngineKind]
    redis: EngineKind


def _redis_7(port: int) -> list[str]:
    binary = shutil.which("redis-server")
    if binary is None:
        raise EngineMissing("no redis-server on PATH: install redis-server 7")
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\bv=(\d+)\.", answer)
    if version is None or int(version[1]) < 7:
        raise EngineMissing(f"redis-server 7 is needed, and {binary} says: {answer.strip()}")
    return redis_server(binary, port)


EMBEDDED = EnginePair("embedded", lambda _: TANSU, VALKEY)
APACHE = EnginePair("apache", apache_kafka, EngineKind("redis", _redis_7, redis_answers))

ENGINE_PAIRS = [pytest.param(EMBEDDED, id="embedded"), pytest.param(APACHE, id="apache", marks=pytest.mark.apache)]
#: `@on_both_engines` runs a test, which takes `pair: EnginePair`, on the embedded engines, and under `-m apache` on
#: the real ones.
on_both_engines = pytest.mark.parametrize("pair", ENGINE_PAIRS)


def skip_or_fail_without_apache() -> None:
    """Skip the test where Apache Kafka or redis-server cannot be had; fail it if RIDESTREAM_REQUIRE_APACHE=1."""
    try:
        java()
        resolve_classpath()
        _redis_7(0)
    except EngineMissing as error:
        say = pytest.fail if os.environ.get("RIDESTREAM_REQUIRE_APACHE") == "1" else pytest.skip
        say(str(error))
