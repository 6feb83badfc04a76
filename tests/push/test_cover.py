"""The cover of a circle leaves out no cell and no region in which a match can be."""

from __future__ import annotations

import h3.api.basic_int as h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push.cover import cover_circle, cover_rings
from stream.channels import REGION_RESOLUTION, cell_of, region_of
from tests.push.city import MANHATTAN, PENTAGONS, PLACES, distance_m, places, towards

radii = st.one_of(st.sampled_from([1.0, 150.0, 500.0, 1_000.0, 5_000.0]), st.floats(0.5, 5_000))
#: Where covers go wrong: just inside the circle.
shares = st.one_of(st.sampled_from([0.0, 0.9999, 0.999999, 1.0, 1.0001]), st.floats(0, 1))


@settings(max_examples=400)
@given(
    place=places,
    wander=st.tuples(st.floats(0, 360), st.floats(0, 400)),
    radius_m=radii,
    share=shares,
    bearing=st.floats(0, 360),
)
def test_no_point_of_the_circle_is_in_a_cell_or_region_left_out(place, wander, radius_m, share, bearing):
    centre = towards(place, *wander)
    point = towards(centre, bearing, radius_m * share)
    cover = cover_circle(cell_of(*centre), radius_m)
    if distance_m(centre, point) <= radius_m:
        assert cell_of(*point) in cover.cells
        assert region_of(cell_of(*point)) in cover.regions


@pytest.mark.parametrize("place", PENTAGONS + PLACES)
def test_the_rim_is_covered_all_around_pentagons_and_odd_places(place):
    for radius_m in (120.0, 900.0, 2_500.0):
        cover = cover_circle(cell_of(*place), radius_m)
        for bearing in range(0, 360, 3):
            for share in (0.9999, 0.5):
                point = towards(place, bearing, radius_m * share)
                assert cell_of(*point) in cover.cells
                assert region_of(cell_of(*point)) in cover.regions


@pytest.mark.parametrize("place", [*PENTAGONS[:3], *PLACES])
@pytest.mark.parametrize("radius_m", [100.0, 500.0, 1_500.0])
def test_no_corner_of_a_cell_left_out_is_near_any_corner_of_the_riders_cell(place, radius_m):
    # The worst rider and the worst car both stand in a corner of their cells, towards each other.
    centre = cell_of(*place)
    cover = cover_circle(centre, radius_m)
    rim = {near for cell in cover.cells for near in h3.grid_disk(cell, 1)} - set(cover.cells)
    assert rim
    for cell in rim:
        for corner in h3.cell_to_boundary(cell):
            assert all(distance_m(rider, corner) > radius_m for rider in h3.cell_to_boundary(centre))


@settings(max_examples=200)
@given(place=places, wander=st.tuples(st.floats(0, 360), st.floats(0, 180)), radius_m=radii, bearing=st.floats(0, 360))
def test_a_cell_called_inside_is_inside_for_every_rider_of_the_centre_cell(place, wander, radius_m, bearing):
    rider = towards(place, *wander)
    cover = cover_circle(cell_of(*rider), radius_m)
    for cell, far_m in list(cover.cells.items())[:: max(1, len(cover.cells) // 25)]:
        for corner in h3.cell_to_boundary(cell):
            found_m = distance_m(rider, corner)
            assert found_m <= far_m
            assert far_m - cover.spread_m <= found_m


def test_a_small_cell_that_sticks_out_of_its_region_is_looked_for_where_it_is_indexed():
    # A place in the cell whose own resolution 6 cell is another than the one its res 9 cell is indexed under.
    for bearing in range(0, 360, 2):
        for far_m in range(0, 6_000, 100):
            place = towards(MANHATTAN, bearing, far_m)
            cell = cell_of(*place)
            if h3.latlng_to_cell(*place, REGION_RESOLUTION) != region_of(cell):
                assert region_of(cell) in cover_circle(cell, 1.0).regions
                return
    pytest.fail("no such place found; choose another city")


def test_riders_of_one_small_cell_share_a_cover():
    cell = cell_of(*MANHATTAN)
    assert cover_circle(cell, 1_000.0) is cover_circle(cell, 1_000.0)


def test_a_cover_is_not_much_larger_than_its_circle():
    cover = cover_circle(cell_of(*MANHATTAN), 1_000.0)
    area_m2 = sum(h3.cell_area(cell, unit="m^2") for cell in cover.cells)
    # A rim of three cells' radii (~600 m) around the circle of 1 km.
    assert area_m2 < 3.15 * 1_650**2


@given(place=places, rings=st.integers(0, 6))
def test_rings_are_the_h3_disk(place, rings):
    cell = cell_of(*place)
    cover = cover_rings(cell, rings)
    assert set(cover.cells) == set(h3.grid_disk(cell, rings))
    assert cover.regions == {region_of(each) for each in cover.cells}
