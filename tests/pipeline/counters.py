"""The verdict counters that services publish at /metrics, added up."""

from __future__ import annotations

import time
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from infra.local.services import Service
from tests.pipeline.polling import POLL_S

#: /metrics answers in milliseconds, unless the machine is busy, or the service has only just been started.
ANSWERS_WITHIN_S = 30.0


def samples(service: Service, name: str, label: str) -> Counter[str]:
    """The samples of one counter of a service, by one of its labels. Zeros are left out."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(_text_of(service)):
        for sample in family.samples:
            if sample.name == name and sample.value:
                found[sample.labels.get(label, "")] += int(sample.value)
    return found


def _text_of(service: Service) -> str:
    """Of a service that runs: no answer in time is none, and not a count of zero."""
    deadline_s = time.monotonic() + ANSWERS_WITHIN_S
    while not (text := service.metrics()) and service.running and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return text


def received(ingest: Service) -> int:
    return samples(ingest, "ride_pings_received_total", "source").total()


def rejected(ingest: Service) -> Counter[str]:
    """Rejected pings by reason."""
    reasons = samples(ingest, "ride_pings_total", "reason")
    del reasons[""]
    return reasons


def accepted(ingest: Service) -> int:
    return samples(ingest, "ride_pings_total", "verdict")["accepted"]


def folded(worker: Service) -> Counter[str]:
    """Pings by verdict over the partitions that a stream worker has, since their records began."""
    return samples(worker, "ride_pings_folded_total", "verdict")


def frames(worker: Service) -> int:
    """Frames that this worker process itself has folded."""
    return samples(worker, "ride_frames_total", "").total()
