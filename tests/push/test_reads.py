"""Reads over HTTP on a real Redis: nearby cars, trips, tracks, explanations, and what no cache may keep."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.engines import Engine
from ingest.events import OFFLINE, Ping
from ingest.rejections import RejectionLog
from ingest.trips import BEFORE_BOARDING, ENDED, STATES
from push.explanations import Explanation, Rejection
from push.glance import glance
from push.nearby import Query
from push.openapi import Nearby, NewShare
from push.tracks import GEOJSON, GPX, track_geojson, track_gpx
from push.trip_answer import TripAnswer
from stream.channels import Car, RegionSnapshot, region_of
from stream.regions import RegionChange
from stream.trip_channels import TrackFix, TripWrite
from tests.oracle.distance import haversine_m
from tests.push.city import MANHATTAN, PLACES, car, distance_m, towards
from tests.push.read_api import DROPOFF, NOW_MS, PICKUP, WALL_S, ReadApi, assert_problem, trip_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "wire" / "reads.md").read_text()
NEARBY = f"/v1/nearby?lat={MANHATTAN[0]}&lon={MANHATTAN[1]}"


async def put_cars(api: ReadApi, *cars: Car) -> None:
    changes: dict[int, RegionChange] = {}
    for each in cars:
        changes.setdefault(region_of(each.cell), RegionChange()).cars[each.driver_id] = each
    await api.index.apply(changes, "", 0)


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["driver_id"] for each in answer.json()["cars"]]


async def test_the_cars_near_a_place_come_nearest_first_with_their_freshness(engine: Engine) -> None:
    async with ReadApi(engine, stale_after_ms=30_000, gone_after_ms=120_000) as api:
        await put_cars(
            api,
            car("far", NOW_MS - 1_000, towards(MANHATTAN, 90, 900), "TAXI"),
            car("near", NOW_MS - 2_000, towards(MANHATTAN, 180, 100), "AUTO"),
            car("stale", NOW_MS - 30_000, towards(MANHATTAN, 0, 500)),
            car("gone", NOW_MS - 120_000, towards(MANHATTAN, 0, 10)),
            car("beyond", NOW_MS, towards(MANHATTAN, 0, 1_100)),
        )
        answer = await api.get(f"{NEARBY}&radius_m=1000", api.token())
        assert names(answer) == ["near", "stale", "far"]
        body = answer.json()
        assert (body["server_time_ms"], body["stale_after_ms"], body["gone_after_ms"]) == (NOW_MS, 30_000, 120_000)
        assert [(each["age_ms"], each["freshness"]) for each in body["cars"]] == [
            (2_000, "live"), (30_000, "stale"), (1_000, "live"),
        ]  # fmt: skip
        assert names(await api.get(f"{NEARBY}&radius_m=1000&limit=1", api.token())) == ["near"]
        assert names(await api.get(f"{NEARBY}&radius_m=1000&vehicle_types=TAXI,TRUCK", api.token())) == ["far"]


async def test_a_car_that_crosses_regions_is_where_its_newer_fix_is(engine: Engine) -> None:
    """Between the write of the new region and that of the old one, both name it."""
    here = MANHATTAN
    there = next(
        place
        for metres in range(500, 20_000, 500)
        if region_of(car("x", 0, place := towards(here, 45, metres)).cell) != region_of(car("x", 0, here).cell)
    )
    async with ReadApi(engine, max_radius_m=20_000) as api:
        await put_cars(api, car("d-1", NOW_MS - 5_000, here))
        await put_cars(api, car("d-1", NOW_MS - 1_000, there))
        (found,) = (await api.get(f"{NEARBY}&radius_m=20000", api.token())).json()["cars"]
        assert found["fix_time_ms"] == NOW_MS - 1_000


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_look_finds_the_cars_that_measuring_every_car_finds(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(PLACES))
    radius_m = data.draw(st.sampled_from([1.0, 120.0, 800.0, 2_500.0]))
    limit = data.draw(st.integers(1, 30))
    rim = st.one_of(st.floats(0, 1.5), st.sampled_from([1.0, 1 - 1e-9, 1 + 1e-9]))
    cars = [
        car(f"d-{at}", NOW_MS - ago_ms, towards(place, bearing, far * radius_m), type_)
        for at, (bearing, far, ago_ms, type_) in enumerate(
            data.draw(
                st.lists(
                    st.tuples(
                        st.floats(0, 360),
                        rim,
                        st.sampled_from([0, 29_999, 30_000, 119_999, 120_000]),
                        st.sampled_from(["", "TAXI"]),
                    ),
                    max_size=40,
                )
            )
        )
    ]
    types = data.draw(st.sampled_from([None, frozenset({"TAXI"})]))
    snapshots: dict[int, list[Car]] = {}
    for each in cars:
        snapshots.setdefault(region_of(each.cell), []).append(each)
    query = Query(*place, limit, radius_m, None, types)
    found = glance(query, [RegionSnapshot(1, 1, named) for named in snapshots.values()], NOW_MS, 30_000, 120_000)
    wanted = sorted(
        (distance_m(place, (each.lat, each.lon)), each.driver_id)
        for each in cars
        if NOW_MS - each.fix_time_ms < 120_000 and (types is None or each.vehicle_type in types)
    )
    inside = [driver_id for far_m, driver_id in wanted if far_m <= radius_m]
    assert [marker.driver_id for marker in found] == inside[:limit]
    # And the oracle's own haversine agrees but for a hair at the rim.
    for marker in found:
        assert haversine_m(*place, marker.car.lat, marker.car.lon) <= radius_m * (1 + 1e-6) + 1e-3
        assert marker.stale == (NOW_MS - marker.car.fix_time_ms >= 30_000)


async def test_at_the_rim_and_across_regions_the_answer_is_that_of_measuring_every_car(engine: Engine) -> None:
    """On a real Redis: cars a millimetre inside and outside of the circle, all around it, in several regions."""
    async with ReadApi(engine) as api:
        radius_m = 4_000.0
        cars = [
            car(f"d-{bearing}{side}", NOW_MS - 1_000, towards(MANHATTAN, bearing, radius_m + off_m))
            for bearing in range(0, 360, 5)
            for side, off_m in (("in", -0.001), ("out", 0.001), ("near", -radius_m * bearing / 361))
        ]
        assert len({region_of(each.cell) for each in cars}) > 1
        await put_cars(api, *cars)
        wanted = sorted(
            (haversine_m(*MANHATTAN, each.lat, each.lon), each.driver_id)
            for each in cars
            if haversine_m(*MANHATTAN, each.lat, each.lon) <= radius_m
        )
        answer = await api.get(f"{NEARBY}&radius_m=4000", api.token())
        assert set(names(answer)) == {driver_id for _, driver_id in wanted}
        distances_m = [haversine_m(*MANHATTAN, each["lat"], each["lon"]) for each in answer.json()["cars"]]
        assert distances_m == pytest.approx(sorted(distances_m), abs=1e-6)
        assert len(names(await api.get(f"{NEARBY}&radius_m=4000&limit=50", api.token()))) == 50


async def test_a_place_asked_for_badly_is_refused_and_not_repeated(engine: Engine) -> None:
    bad = [
        "lat=91&lon=-74.0&radius_m=10",
        "lat=nan&lon=-74.0&radius_m=10",
        "lat=40.7&lon=-74.0&radius_m=5001",
        "lat=40.7&lon=-74.0&radius_m=0",
        "lat=40.7&lon=-74.0&radius_m=inf",
        "lat=40.7&lon=-74.0&radius_m=10&limit=0",
        "lat=40.7&lon=-74.0&radius_m=10&limit=501",
        "lat=40.7&lon=-74.0",
        "lon=-74.0&radius_m=10",
        "lat=40.7&lon=-74.0&radius_m=10&vehicle_types=BUS",
    ]
    async with ReadApi(engine) as api:
        for query in bad:
            assert_problem(await api.get(f"/v1/nearby?{query}", api.token()), 422)


async def test_a_track_comes_as_geojson_or_gpx_as_the_client_likes(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        fixes = [TrackFix(NOW_MS - 9_000 + 3_000 * at, *towards(MANHATTAN, 0, 40 * at)) for at in range(3)]
        await api.put_trip(trip_of(), api.car(), fixes)
        path, token = "/v1/trips/t-1/track", api.token()
        answer = await api.get(path, token)
        assert answer.headers["content-type"] == "application/geo+json"
        feature = answer.json()
        assert feature["geometry"]["coordinates"] == [[fix.lon, fix.lat] for fix in fixes]
        assert feature["properties"]["coordTimes"][0] == "2023-11-14T22:13:11.000Z"
        assert feature["properties"]["distance_m"] == pytest.approx(80, abs=0.1)
        assert feature["properties"]["driver_id"] == "d-1"
        gpx = await api.get(path, token, accept="application/geo+json;q=0.5, application/gpx+xml")
        assert gpx.headers["content-type"] == "application/gpx+xml"
        assert len(ElementTree.fromstring(gpx.content)[0].findall("{*}trkseg/{*}trkpt")) == 3
        assert (await api.get(path, token, accept="application/json")).headers["content-type"] == "application/json"
        assert_problem(await api.get(path, token, accept="text/html"), 406, "not-acceptable")


@pytest.mark.parametrize("media_type", [GEOJSON, GPX])
async def test_riders_do_not_wait_for_a_long_track_to_be_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, media_type: str
) -> None:
    written_in: list[threading.Thread] = []
    for name, write in (("track_geojson", track_geojson), ("track_gpx", track_gpx)):

        def noted(*track: Any, write: Callable[..., Any] = write) -> Any:
            written_in.append(threading.current_thread())
            return write(*track)

        monkeypatch.setattr(f"push.reads.{name}", noted)
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), fixes=[TrackFix(NOW_MS, *MANHATTAN)])
        assert (await api.get("/v1/trips/t-1/track", api.token(), accept=media_type)).status_code == 200
        assert len(written_in) == 1
        assert threading.current_thread() not in written_in


@pytest.mark.parametrize("count", [0, 1])
async def test_a_track_too_short_for_a_line_is_a_point_or_nowhere(engine: Engine, count: int) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), fixes=[TrackFix(NOW_MS, *MANHATTAN)] * count)
        feature = (await api.get("/v1/trips/t-1/track", api.token())).json()
        assert (feature["geometry"] and feature["geometry"]["type"]) == (None if count == 0 else "Point")
        assert len(feature["properties"]["coordTimes"]) == count


async def test_the_track_of_a_trip_that_has_ended_stays_its_riders_and_ends_with_it(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        ended = trip_of(state="COMPLETE")
        end_ms = ended.history[-1].at_ms
        await api.put_trip(trip_of(), api.car(), [TrackFix(end_ms + at, *MANHATTAN) for at in (-1_000, 0, 1)])
        await api.put_trip(ended)
        feature = (await api.get("/v1/trips/t-1/track", api.token())).json()
        assert feature["geometry"]["type"] == "LineString"
        assert len(feature["properties"]["coordTimes"]) == 2


def pings(*agos_ms: int, **more: Any) -> list[Ping]:
    return [Ping("d-1", NOW_MS - ago_ms, *MANHATTAN, NOW_MS - ago_ms + 40, **more) for ago_ms in agos_ms]


async def test_dispatch_is_told_why_a_driver_is_shown_or_not(engine: Engine) -> None:
    async with ReadApi(engine, partitions=7) as api:
        token = api.token("ops", "dispatch")

        async def told() -> dict[str, Any]:
            answer = await api.get("/v1/drivers/d-1", token)
            assert answer.status_code == 200, answer.text
            body: dict[str, Any] = answer.json()
            return body

        assert (await told())["state"] == "unknown"
        await api.put_driver(pings(9_000, 4_000))
        shown = await told()
        assert (shown["state"], shown["shown"], shown["fix"]["age_ms"]) == ("live", True, 4_000)
        assert shown["fix"]["cell"] == f"{car('x', 0, MANHATTAN).cell:x}"
        assert [each["verdict"] for each in shown["fixes"]] == ["live", "superseded"]
        api.event.ms += 60_000
        assert (await told())["state"] == "stale"
        api.event.ms += 60_000
        assert ((await told())["state"], (await told())["shown"]) == ("gone", False)
        api.event.ms = NOW_MS
        await api.client.flushall()
        await api.put_driver(pings(4_000), indexed=False)
        assert "index does not hold it" in (await told())["explanation"]
        await api.client.flushall()
        await api.put_driver(pings(4_000, vehicle_state=OFFLINE), indexed=False)
        assert (await told())["state"] == "offline"
        await api.client.flushall()
        log = RejectionLog(api.client, lambda lost: None)
        for ago_s in (9, 5):
            log.note("d-1", int((WALL_S - ago_s) * 1_000), NOW_MS, "low_accuracy" if ago_s == 5 else "too_old")
        await log.flush()
        rejected = await told()
        assert [(each["reason"], each["age_ms"]) for each in rejected["rejections"]] == [
            ("low_accuracy", 5_000), ("too_old", 9_000),
        ]  # fmt: skip
        assert "the last as low_accuracy 5 s ago" in rejected["explanation"]
        assert_problem(await api.get("/v1/drivers/a%20b", token), 422)
        assert_problem(await api.get("/v1/drivers/" + "a" * 65, token), 422)


async def test_what_has_not_changed_is_not_sent_again(engine: Engine) -> None:
    async with ReadApi(engine, stale_after_ms=30_000) as api:
        await put_cars(api, car("d-1", NOW_MS - 1_000, MANHATTAN))
        await api.put_trip(trip_of(), api.car(), [TrackFix(NOW_MS, *MANHATTAN)])
        await api.put_driver(pings(4_000))
        token = api.token("ops", "dispatch")
        for path in (f"{NEARBY}&radius_m=100", "/v1/trips/t-1", "/v1/trips/t-1/track", "/v1/drivers/d-1"):
            first = await api.get(path, token)
            tag = first.headers["etag"]
            api.event.ms += 1_000  # the fixes are older, and say the same
            again = await api.get(path, token, if_none_match=f'"other", {tag}')
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path
            assert again.headers["cache-control"] == "no-store"
            assert (await api.get(path, token, if_none_match='"other"')).status_code == 200
        tags = [(await api.get(path, token)).headers["etag"] for path in (f"{NEARBY}&radius_m=100", "/v1/drivers/d-1")]
        api.event.ms += 40_000  # stale: that is news
        await put_cars(api)
        assert tags != [
            (await api.get(path, token)).headers["etag"] for path in (f"{NEARBY}&radius_m=100", "/v1/drivers/d-1")
        ]


async def test_geojson_and_gpx_of_one_track_have_different_tags(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), fixes=[TrackFix(NOW_MS, *MANHATTAN)])
        tag = (await api.get("/v1/trips/t-1/track", api.token())).headers["etag"]
        assert tag.startswith('"')
        answer = await api.get("/v1/trips/t-1/track", api.token(), accept="application/gpx+xml", if_none_match=tag)
        assert answer.status_code == 200


async def test_no_cache_keeps_anything_with_a_position_or_a_refusal(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        token = api.token("ops", "dispatch")
        for path in (f"{NEARBY}&radius_m=100", "/v1/trips/t-1", "/v1/trips/t-1/track", "/v1/drivers/d-1"):
            for bearer in (token, None, "nonsense", api.token(scopes="")):
                answer = await api.get(path, bearer)
                assert answer.headers["cache-control"] == "no-store"
                if bearer == token:
                    assert {"accept", "authorization"} <= {
                        each.strip().lower() for each in answer.headers["vary"].split(",")
                    }


async def test_while_redis_is_away_the_answer_is_503_and_says_when_to_come_back(own_engine: Engine) -> None:
    async with ReadApi(own_engine) as api:
        token = api.token("ops", "dispatch")
        paths = (f"{NEARBY}&radius_m=100", "/v1/trips/t-1", "/v1/trips/t-1/track", "/v1/drivers/d-1")
        await api.get(paths[0], token)
        await asyncio.to_thread(own_engine.process.kill)
        for path in paths:
            answer = await api.get(path, token)
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert_problem(await api.ask("POST", "/v1/trips/t-1/shares", token), 503)
        assert_problem(await api.ask("DELETE", "/v1/trips/t-1/shares/s-1", token), 503)


async def test_what_redis_refuses_is_named_in_the_log(own_engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    async with ReadApi(own_engine) as api:
        await api.put_trip(trip_of())
        await api.client.execute_command("ACL", "SETUSER", "default", "-hgetall", "-hget", "-hmget", "-zrange")
        assert_problem(await api.get("/v1/trips/t-1", api.token()), 503, "unavailable")
        (said,) = [each.getMessage() for each in caplog.records if "a read failed" in each.getMessage()]
        assert "permission" in said.lower()
        assert "hget" in said.lower() or "hmget" in said.lower()
        assert len(said) < 150


async def test_openapi_describes_every_read_and_how_it_fails(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        document = (await api.get("/v1/openapi.json")).json()
    paths = {
        "/v1/nearby": "get",
        "/v1/trips/{trip_id}": "get",
        "/v1/trips/{trip_id}/track": "get",
        "/v1/drivers/{driver_id}": "get",
        "/v1/trips/{trip_id}/shares": "post",
        "/v1/trips/{trip_id}/shares/{share_id}": "delete",
    }
    for path, method in paths.items():
        operation = document["paths"][path][method]
        assert operation["security"] == [{"bearer": []}]
        assert {"401", "503"} <= set(operation["responses"])
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (path, status)
    assert set(document["paths"]["/v1/trips/{trip_id}/track"]["get"]["responses"]["200"]["content"]) == {
        "application/geo+json", "application/json", "application/gpx+xml",
    }  # fmt: skip

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas


async def test_a_rider_reads_its_trip_as_a_subscription_would_begin(engine: Engine) -> None:
    async with ReadApi(engine, trip_stale_after_ms=15_000, trip_lost_after_ms=60_000) as api:
        await api.put_trip(trip_of(), api.car(ago_ms=2_000, leg="pickup", remaining_m=812.34, eta_s=95.0))
        body = (await api.get("/v1/trips/t-1", api.token())).json()
        snapshot = await api.trips.snapshot("t-1")
        assert snapshot is not None
        assert (body["epoch"], body["offset"], body["server_time_ms"]) == (str(snapshot.epoch), 2, NOW_MS)
        assert [event["event_id"] for event in body["events"]] == ["v1", "v2"]
        assert (body["trip"]["state"], body["trip"]["rider_id"]) == ("ENROUTE_TO_PICKUP", "rider-1")
        assert (body["car"]["lat"], body["car"]["lon"]) == MANHATTAN
        assert (body["progress"]["leg"], body["progress"]["remaining_m"]) == ("pickup", 812.3)
        assert body["progress"]["eta_ms"] == NOW_MS - 2_000 + 95_000
        seen = []
        for age_ms in (2_000, 14_999, 15_000, 59_999, 60_000):
            api.event.ms = NOW_MS - 2_000 + age_ms
            now = (await api.get("/v1/trips/t-1", api.token())).json()
            assert (now["age_ms"], now["car"]["age_ms"], now["car"]["freshness"]) == (age_ms, age_ms, now["freshness"])
            seen.append(now["freshness"])
        assert seen == ["live", "live", "stale", "stale", "lost"]


async def test_a_trip_without_a_car_has_no_position_and_no_age(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of())
        body = (await api.get("/v1/trips/t-1", api.token())).json()
        assert body["freshness"] == "none"
        assert not {"car", "age_ms", "progress"} & set(body)


async def test_the_position_is_hidden_once_the_trip_has_ended_whatever_redis_holds(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        trip = trip_of(state="COMPLETE")
        await api.trips.apply([TripWrite(trip, True, api.car(), False, trip.history)])
        for token in (api.token(), api.token("ops", "dispatch")):
            body = (await api.get("/v1/trips/t-1", token)).json()
            assert (body["trip"]["state"], body["freshness"]) == ("COMPLETE", "none")
            assert not {"car", "age_ms", "progress"} & set(body)


@pytest.mark.parametrize("state", [each for each in STATES if each not in ENDED])
async def test_the_holder_of_a_link_never_sees_who_and_after_boarding_not_whence(engine: Engine, state: str) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(state=state), api.car(leg="dropoff"))
        body = (await api.get("/v1/trips/t-1", (await api.share())["token"])).json()
        told = str(body)
        assert body["car"]["driver_id"] == "d-1"
        assert "rider-1" not in told
        assert "Home Street" not in told
        assert "Airport" not in told
        assert (str(PICKUP.lat) in told) == (state in BEFORE_BOARDING)
        assert str(DROPOFF.lat) in told


async def test_the_rider_and_the_holder_of_a_link_are_never_given_each_others_tag(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        tag = (await api.get("/v1/trips/t-1", api.token())).headers["etag"]
        token = (await api.share())["token"]
        assert (await api.get("/v1/trips/t-1", token, if_none_match=tag)).status_code == 200


def test_the_page_names_every_read_every_member_and_every_refusal() -> None:
    for path in ("nearby", "trips/{trip_id}", "trips/{trip_id}/track", "drivers/{driver_id}", "trips/{trip_id}/shares"):
        assert f"/v1/{path}" in PAGE
    for struct in (Explanation, TripAnswer, Nearby, NewShare, Rejection):
        for member in struct.__struct_fields__:
            assert f'"{member}"' in PAGE or f"`{member}`" in PAGE, member
    sources = "".join((ROOT / "push" / f"{name}.py").read_text() for name in ("access", "reads", "sharing", "pages"))
    raised = set(re.findall(r'(?:Refusal\(|_problem\()\s*(\d{3}),\s*"([\w-]+)"', sources)) | {("503", "unavailable")}
    assert len(raised) > 8
    assert raised <= {(status, slug) for slug, status in re.findall(r"`/problems/([\w-]+)` \| (\d{3})", PAGE)}
    for name in set(re.findall(r"RIDESTREAM_\w+", PAGE)):
        assert name in (ROOT / "docs" / "configuration.md").read_text()
