"""What services tell of themselves becomes CPU, memory, queues and ages of pings over time, also when they restart."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from push.metrics import RiderMetrics
from simulator.results.readings import Readings
from simulator.results.recorder import Recorder
from simulator.results.scrape import Scraper, read
from simulator.results.table import summaries_of


class Service:
    """Metrics as a service would tell them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.riders = RiderMetrics(self.registry)
        self.cpu = Counter("process_cpu_seconds_total", "CPU.", registry=self.registry)
        self.memory = Gauge("process_resident_memory_bytes", "Memory.", registry=self.registry)
        self.lag = Gauge("kafka_consumer_lag_records", "Lag.", ["topic", "partition"], registry=self.registry)
        self.build = Gauge("build_info", "Version.", ["service", "version"], registry=self.registry)
        self.build.labels("push", "9.8.7").set(1)

    @property
    def page(self) -> str:
        return generate_latest(self.registry).decode()


def test_two_readings_of_a_service_give_what_happened_between_them() -> None:
    service, recorder = Service(), Recorder(0)
    readings = Readings("push", recorder)
    service.riders.age.labels("pushed").observe(30)  # before the run: none of its business
    service.cpu.inc(100)
    readings.take(read(service.page), 500, now_s=10.0)
    for age_s in (0.018, 0.018, 0.018, 0.4):
        service.riders.age.labels("pushed").observe(age_s)
    service.cpu.inc(0.5)
    service.memory.set(64 * 1024 * 1024)
    service.lag.labels("driver.pings", "0").set(3)
    service.lag.labels("driver.pings", "1").set(4)
    readings.take(read(service.page), 1_500, now_s=12.0)
    assert recorder.levels["cpu_cores/push"].at(1).mean == 0.25
    assert recorder.levels["memory_mib/push"].at(1).mean == 64
    assert recorder.levels["lag_records/push"].at(1).mean == 7
    assert recorder.builds == {"push": "9.8.7"}
    pushed = summaries_of(recorder)["pushed"]
    assert (pushed.count, pushed.precision, pushed.max) == (4, "buckets", 500)
    assert pushed.p50 is not None
    assert 10 < pushed.p50 <= 20


def test_a_service_that_was_restarted_counts_from_nothing() -> None:
    recorder = Recorder(0)
    readings = Readings("push", recorder)
    before, after = Service(), Service()
    for _ in range(1_000):
        before.riders.age.labels("pushed").observe(0.01)
    before.cpu.inc(50)
    readings.take(read(before.page), 0, now_s=0.0)
    after.riders.age.labels("pushed").observe(0.01)
    after.cpu.inc(0.75)
    readings.take(read(after.page), 1_000, now_s=1.0)
    assert summaries_of(recorder)["pushed"].count == 1
    assert recorder.levels["cpu_cores/push"].total().mean == 0.75


async def test_a_service_that_does_not_answer_leaves_a_gap_and_the_others_go_on() -> None:
    service, recorder = Service(), Recorder(0)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=service.page)

    async def closed(_request: web.Request) -> web.Response:
        return web.Response(status=503)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/busy/metrics", closed)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    nobody = "http://127.0.0.1:9"
    urls = {"push": f"http://127.0.0.1:{port}", "busy": f"http://127.0.0.1:{port}/busy/", "away": nobody}
    async with aiohttp.ClientSession() as session:
        await Scraper(urls, recorder).look(session)
    await runner.cleanup()
    answers = {name: recorder.levels[f"answers/{name}"].total().mean for name in urls}
    assert answers == {"push": 1, "busy": 0, "away": 0}
    assert "memory_mib/push" in recorder.levels
    assert recorder.levels["memory_mib/simulator"].total().most > 1
    assert "memory_mib/busy" not in recorder.levels


def test_what_is_no_page_of_metrics_is_refused_or_says_nothing() -> None:
    assert read("<html>") == []
    with pytest.raises(ValueError, match="could not convert"):
        read("process_cpu_seconds_total much\n")
