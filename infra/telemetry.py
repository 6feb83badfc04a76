"""Log one JSON object a line, without secrets and without precise positions, and count with Prometheus."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

from prometheus_client import Gauge

#: Record attributes that are logging's own; everything else was passed as `extra` and is logged as a field.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
#: Fields whose values never reach a log line.
_FORBIDDEN = frozenset({"lat", "lon", "lng", "latitude", "longitude", "token", "authorization", "jwt_key", "body"})
#: A decimal with four or more places is as good as a coordinate (11 m); a JWT has three dotted base64url parts.
_PRECISE = re.compile(r"-?\d{1,3}\.\d{4,}")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


def redact(text: str) -> str:
    """Blank everything in `text` that could be a coordinate or a token."""
    return _PRECISE.sub("[number]", _TOKEN.sub("[token]", text))


class JsonFormatter(logging.Formatter):
    """Formats a record as `timestamp, level, event, service` and its extra fields, redacted."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": redact(record.getMessage()),
            "logger": record.name,
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line[name] = "[redacted]" if name.lower() in _FORBIDDEN else _plain(value)
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, separators=(",", ":"))


def _plain(value: object) -> object:
    return value if isinstance(value, int | bool) or value is None else redact(str(value))


def configure_logging(service: str, level: str) -> None:
    """Send the root logger to stderr as JSON lines, and quiet the libraries that log each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("uvicorn.access", "websockets.server", "kafka", "aiokafka", "faust", "mode", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def announce_build(service: str) -> None:
    """Publish `build_info` so that an operator can see which version of which service answers."""
    from importlib.metadata import version

    info = Gauge("build_info", "Version of this service.", ["service", "version"])
    info.labels(service, version("ridestream")).set(1)
