"""What the holder of a share link is told: nothing of the rider, nor, after boarding, of before, nor after the end."""

from __future__ import annotations

import itertools
import json

import h3.api.basic_int as h3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest.polylines import decode_polyline, encode_polyline
from ingest.trips import BEFORE_BOARDING, ENDED, STATES, Place, Trip, TripEvent
from push.redaction import route_ahead, share_event, share_progress, share_trip, shows_way
from push.trip_messages import encode
from stream.trip_channels import LogEntry
from tests.push.trip_model import new_trip, trip_car

lats, lons = st.floats(-80, 80).map(lambda lat: round(lat, 5)), st.floats(-179, 179).map(lambda lon: round(lon, 5))
places = st.builds(Place, lats, lons, st.just("SECRET NAME"))
lines = st.lists(st.tuples(lats, lons), max_size=8).map(encode_polyline)
legs = st.sampled_from(["", "pickup", "waypoint:0", "waypoint:1", "dropoff"])


@st.composite
def trips(draw: st.DrawFn) -> Trip:
    waypoints = draw(st.lists(places, max_size=3))
    return replace(
        new_trip(rider_id="SECRET RIDER"),
        state=draw(st.sampled_from(STATES)),
        pickup=draw(places),
        dropoff=draw(places),
        waypoints=waypoints,
        next_waypoint=draw(st.integers(0, len(waypoints))),
        approach=draw(lines),
        route=draw(lines),
    )


@given(trips(), legs, st.none() | st.floats(0, 3e7), st.booleans())
def test_no_name_no_rider_after_boarding_no_place_of_before_and_after_the_end_none(trip, leg, route_m, off_route):
    car = trip_car(trip, 1, leg=leg, route_m=route_m, off_route=off_route, distance_m=5.0)
    text = encode(share_trip(trip, car)).decode()
    told = json.loads(text)
    assert "SECRET" not in text
    assert "rider_id" not in told
    if trip.ended:
        assert told == {"trip_id": trip.trip_id, "version": trip.version, "state": trip.state}
        return
    assert len(told["waypoints"]) == len(trip.waypoints)
    if trip.state in BEFORE_BOARDING:
        assert told["pickup"] == {"lat": trip.pickup.lat, "lon": trip.pickup.lon}
        assert told["route"] == trip.route
        assert told["approach"] == trip.approach
        return
    assert told.keys().isdisjoint({"pickup", "approach"})
    assert told["waypoints"][: trip.next_waypoint] == [None] * trip.next_waypoint
    assert "route_m" not in json.loads(encode(share_progress(car, trip)))
    if told["route"]:
        assert shows_way(trip, car)
        assert route_m is not None
        assert not off_route
        before, after = decode_polyline(trip.route), decode_polyline(told["route"])
        # What is left is the end of the route, and begins no nearer to its beginning than the car is.
        assert after[1:] == before[len(before) - len(after) + 1 :]
        cut = before[: len(before) - len(after) + 1]
        driven_m = sum(h3.great_circle_distance(a, b, unit="m") for a, b in itertools.pairwise(cut))
        end_m = h3.great_circle_distance(before[len(cut) - 1], before[len(cut)], unit="m")
        assert driven_m <= route_m + 10 <= driven_m + end_m


@given(trips(), st.none() | st.floats(0, 1e5))
def test_without_knowing_where_on_the_route_the_car_is_nothing_of_it_is_shown(trip, route_m):
    for car in (None, trip_car(trip, 1, leg="pickup", route_m=route_m), trip_car(trip, 1, leg="dropoff")):
        assert route_ahead(trip, car) == ""


@given(st.floats(0, 20_000))
def test_a_straight_route_is_cut_where_the_car_is(route_m):
    trip = replace(new_trip(), state="ENROUTE_TO_DROPOFF", route=encode_polyline([(40.0, -74.0), (40.09, -74.0)]))
    length_m = h3.great_circle_distance((40.0, -74.0), (40.09, -74.0), unit="m")
    left = decode_polyline(route_ahead(trip, trip_car(trip, 1, leg="dropoff", route_m=route_m)))
    if route_m + 10 >= length_m:
        assert left == []
    else:
        assert abs(h3.great_circle_distance((40.0, -74.0), left[0], unit="m") - route_m - 10) < 1
        assert left[-1] == (40.09, -74.0)


def test_a_route_over_the_antimeridian_is_cut_on_the_short_way():
    trip = replace(new_trip(), state="ENROUTE_TO_DROPOFF", route=encode_polyline([(0.0, 179.9), (0.0, -179.9)]))
    left = decode_polyline(route_ahead(trip, trip_car(trip, 1, leg="dropoff", route_m=16_000.0)))
    assert left[0][1] < -179.9
    assert left[1] == (0.0, -179.9)


@given(trips(), st.sampled_from(sorted(set(STATES) - ENDED)))
def test_what_people_noted_and_the_zones_of_before_are_gone_once_the_rider_has_boarded(trip, state):
    event = TripEvent("e", "geofence.entered", 1, state, "d-1", 1, "driver", "SECRET NOTE", "pickup", "SECRET-ZONE")
    told = json.loads(encode([share_event(LogEntry(3, event), trip)]))[0]
    if trip.state in BEFORE_BOARDING:
        assert told["reason"] == "SECRET NOTE"
        return
    assert told.keys().isdisjoint({"by", "reason"})
    assert ("zone_id" in told) == (state not in BEFORE_BOARDING and not trip.ended)
    assert (told["offset"], told["event_id"], told["place"]) == (3, "e", "pickup")
