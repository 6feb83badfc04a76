"""A scenario file says what a run is; whatever is wrong with it is said at once, and where."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from simulator.counts.findings import Kind
from simulator.demand.recorded import read_requests
from simulator.demand.requests import Requests
from simulator.phones.faults import KINDS, problems_of
from simulator.riders.faults import plan
from simulator.scenarios.bounds import Bounds
from simulator.scenarios.city import load_city
from simulator.scenarios.scenario import Draft, Scenario, ScenarioError, parse_scenario
from simulator.scenarios.shipped import load_scenario, scenario_names

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()
SMALLEST = 'title = "One car"\n[fleet]\ndrivers = 1\n'


def read(text: str) -> Scenario:
    return parse_scenario(text, "mine", Path())


def complaint(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_fleet_and_a_title_are_enough() -> None:
    scenario = read(SMALLEST)
    assert (scenario.name, scenario.title, scenario.text) == ("mine", "One car", SMALLEST)
    assert scenario.duration_s is None
    assert scenario.demand is None
    assert scenario.riders.map == 0
    assert scenario.bounds.ghost == 0
    assert scenario.fleet.standing_interval_ms == scenario.fleet.interval_ms == 1_000


def test_every_member_arrives_where_it_belongs() -> None:
    scenario = read("""
title = "All"
duration_s = 60
seed = 7
[city]
area = { lat = 40.75, lon = -73.99, radius_m = 900 }
[fleet]
drivers = 20
interval_s = 0.5
standing_interval_s = 5
vehicles = { TAXI = 1 }
[demand]
rate_per_min = 60
hot_spots = [{ lat = 40.75, lon = -73.99, sigma_m = 400, share = 0.5 }]
from_s = 2
until_s = 30
trip_m = [800, 3000]
[riders]
map = 10
limit = 20
walk_after_s = [15, 45]
[[faults]]
kind = "tunnel"
from_s = 30
until_s = 90
area = { lat = 40.75, lon = -73.99, radius_m = 300 }
order = "shuffled"
[[faults]]
kind = "loss"
share = 0.2
[[rider_faults]]
kind = "slow"
at_s = 10
for_s = 5
share = 0.1
[bounds]
missing = 3
latency_p99_ms = 500
""")
    assert scenario.city.area is not None
    assert scenario.city.area.radius_m == 900.0
    assert scenario.fleet.standing_interval_ms == 5_000
    assert scenario.fleet.vehicles == {"TAXI": 1.0}
    assert scenario.demand is not None
    assert scenario.demand.hot_spots[0].sigma_m == 400.0
    assert scenario.demand.trip_m == (800.0, 3000.0)
    assert [fault.kind for fault in scenario.faults] == ["tunnel", "loss"]
    assert scenario.faults[0].params == {"order": "shuffled"}
    assert scenario.faults[0].area is not None
    assert (scenario.faults[1].share, scenario.faults[1].until_s, scenario.faults[1].params) == (0.2, None, {})
    assert scenario.rider_faults[0].for_s == 5.0
    assert (scenario.bounds.missing, scenario.bounds.ghost, scenario.bounds.latency_p99_ms) == (3, 0, 500.0)


def test_all_that_is_wrong_is_said_in_one_line_with_its_place() -> None:
    said = complaint("""
titel = "typo"
duration_s = -1
[fleet]
drivers = 20.5
vehicles = { AUTO = 0.5, BUS = 0.5 }
[demand]
trips = 3
start = 18:00:00
hot_spots = [{ lat = 95, lon = 3, sigma_m = 3, share = 0.5, weight = 1 }]
[[faults]]
share = nan
[bounds]
ghosts = 1
""")
    assert said.startswith("mine.toml: ")
    assert [problem.partition(":")[0] for problem in said.removeprefix("mine.toml: ").split("; ")] == [
        "titel",
        "duration_s",
        "fleet.drivers",
        "fleet.vehicles",
        "demand.start",
        "demand.hot_spots[0].lat",
        "demand.hot_spots[0].weight",
        "faults[0].share",
        "faults[0].kind",
        "bounds.ghosts",
        "title",
    ]
    assert "did you mean title?" in said
    assert "there is AUTO, TAXI, TRUCK, TWO_WHEELER, BICYCLE, PEDESTRIAN" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[demand]\ntrips = 3\nrate_per_min = 3", "demand.trips: give trips or rate_per_min, not both"),
        ("[demand]\ntrips = 3", "demand.trips: over what time?"),
        ("[demand]", "demand.trips: give trips, rate_per_min or file"),
        ('[demand]\nrate_per_min = 3\nstart = "18:00"', "demand.start: is a time of day of file"),
        ('[demand]\nfile = "nyc"\nstart = "24:00"', "demand.start: expected str matching"),
        ('[demand]\nfile = "nyc"\nhot_spots = [{lat=1,lon=1,sigma_m=1,share=1}]', "demand.hot_spots: the places are"),
        ("[demand]\nrate_per_min = 1\nfrom_s = 9\nuntil_s = 9", "demand.until_s: must be after from_s"),
        ("[demand]\nrate_per_min = 1\ntrip_m = [900, 800]", "demand.trip_m: give the shorter distance first"),
        ("[demand]\nrate_per_min = 1\ntrip_m = [900]", "demand.trip_m: expected array of length 2"),
        ("[demand]\nrate_per_min = 1\nhot_spots = 3", "demand.hot_spots: must be a list of tables"),
        ('[city]\nnodes = "n.csv"', "city.nodes: goes with edges"),
        ('[city]\nroads = "paris"', "city.roads: invalid enum value 'paris' (there is manhattan)"),
        ("[riders]\nwalk_after_s = [45, 15]", "riders.walk_after_s: give the shorter time first"),
        ("[riders]\nradius_m = 9000", "riders.radius_m: expected float <= 5000"),
        ("[[faults]]\nkind = 'loss'\nfrom_s = 5\nuntil_s = 5", "faults[0].until_s: must be after from_s"),
        ("[[faults]]\nkind = 'loss'\nfrom_s = inf", "faults[0].from_s: expected float <= "),
        ("[[rider_faults]]\nkind = 'slow'\nat_s = 5", "rider_faults[0].for_s: slow needs how long it lasts"),
        ("[[rider_faults]]\nkind = 'slower'\nat_s = 5", "there is slow, half_open, reconnect"),
        ("[riders]\nmap = 1\n[riders]", "is not TOML"),
        ("riders = 3", "riders: unknown member"),
    ],
)
def test_what_cannot_stand_together_is_refused(text: str, says: str) -> None:
    # A member that comes after SMALLEST belongs to its last table.
    assert says.replace("riders: unknown", "fleet.riders: unknown") in complaint(SMALLEST + text)


def test_the_shares_of_vehicles_make_a_whole() -> None:
    assert "fleet.vehicles: the shares sum to 0.9, not to 1" in complaint(
        SMALLEST + "vehicles = { AUTO = 0.5, TAXI = 0.4 }"
    )
    assert "fleet.standing_interval_s: must be at least" in complaint(SMALLEST + "standing_interval_s = 0.5")


def test_who_knows_the_faults_judges_them_with_the_rest() -> None:
    def no_faults(draft: Draft) -> list[str]:
        return [f"faults[{number}].kind: no {fault.kind} here" for number, fault in enumerate(draft.faults)]

    with pytest.raises(ScenarioError, match=r"^mine.toml: faults\[0\].kind: no flood here; faults\[1\].kind: no fire"):
        parse_scenario(
            SMALLEST + "[[faults]]\nkind = 'flood'\n[[faults]]\nkind = 'fire'", "mine", Path(), checks=[no_faults]
        )


def test_what_is_wrong_with_faults_is_said_with_the_rest_and_not_after_it() -> None:
    """A share or a bound that is wrong hides neither a window that ends too soon nor a kind's own members."""
    text = """
duration_s = -1
[fleet]
drivers = 1
[[faults]]
kind = "loss"
rate = 3
share = 7
from_s = 20
until_s = 10
[[faults]]
kind = "delay"
delay_s = 3
[[faults]]
kind = "duplicate"
rat = 0.5
[[faults]]
kind = "teleprot"
[[faults]]
kind = "tunnel"
until_s = "noon"
[[faults]]
share = 0.5
[[faults]]
kind = "clock_skew"
[[faults]]
kind = "clock_skew"
"""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "mine", Path(), [lambda draft: problems_of(draft.faults)])
    assert [problem.partition(":")[0] for problem in str(caught.value).removeprefix("mine.toml: ").split("; ")] == [
        "duration_s",
        "faults[0].share",
        "faults[0].until_s",
        "faults[4].until_s",
        "faults[5].kind",
        "title",
        "faults[0].rate",
        "faults[1].delay_s",
        "faults[2].rat",
        "faults[3].kind",
        "faults[6].kind",
        "faults[7].kind",
    ]
    assert "faults[3].kind: there is no 'teleprot', did you mean teleport?" in str(caught.value)


def test_of_a_member_that_is_wrong_no_more_is_said_than_that() -> None:
    """Not that it is missing, nor what would follow if it were not there."""
    said = complaint(
        "duration_s = 'long'\n" + SMALLEST + "[demand]\ntrips = 3\nfrom_s = 9\nrate_per_min = -1\nfile = 3"
    )
    assert [problem.partition(":")[0] for problem in said.removeprefix("mine.toml: ").split("; ")] == [
        "duration_s",
        "demand.rate_per_min",
        "demand.file",
    ]


def test_the_command_line_has_the_last_word() -> None:
    scenario = read("seed = 1\nduration_s = 60\n" + SMALLEST + "[riders]\nmap = 3\n[demand]\ntrips = 2")
    changed = scenario.with_(drivers=5, riders=9, seed=2, duration_s=30)
    assert (changed.fleet.drivers, changed.riders.map, changed.seed, changed.duration_s) == (5, 9, 2, 30)
    assert scenario.with_() == scenario
    assert scenario.with_(riders=0).riders.map == 0
    with pytest.raises(ScenarioError, match="drivers must be at least 1; seed must be at least 0"):
        scenario.with_(drivers=0, seed=-1)
    for never in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ScenarioError, match=r"^mine: duration_s must be at"):
            scenario.with_(duration_s=never)


def test_a_fault_that_the_run_ends_before_is_refused_in_a_file_and_left_out_of_a_shorter_run() -> None:
    faults = """
[[faults]]
kind = "loss"
from_s = 60
[[rider_faults]]
kind = "reconnect"
at_s = 59.9
[[rider_faults]]
kind = "slow"
at_s = 90
for_s = 5
"""
    said = complaint("duration_s = 60\n" + SMALLEST + faults)
    assert "mine.toml: faults[0].from_s: must be before duration_s" in said
    assert "; rider_faults[1].at_s: must be before duration_s" in said
    assert "rider_faults[0]" not in said
    longer = read("duration_s = 100\n" + SMALLEST + faults)
    assert read(SMALLEST + faults).faults == longer.with_(duration_s=10).faults


def test_a_file_of_ones_own_names_its_tables_from_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "porto.toml"
    file.write_text(SMALLEST + '[city]\nnodes = "n.csv"\nedges = "e.csv"\n[demand]\nfile = "r.csv"\n')
    scenario = load_scenario(str(file))
    assert scenario.name == "porto"
    assert (scenario.city.nodes, scenario.city.edges) == (str(tmp_path / "n.csv"), str(tmp_path / "e.csv"))
    assert scenario.demand is not None
    assert scenario.demand.file == str(tmp_path / "r.csv")


def test_a_name_that_is_not_there_brings_the_names_that_are() -> None:
    with pytest.raises(
        ScenarioError, match=r"no scenario rush_huor, did you mean rush_hour\? the shipped ones are city"
    ):
        load_scenario("rush_huor")
    with pytest.raises(FileNotFoundError):
        load_scenario("nowhere/mine.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="UTF-8"):
        load_scenario(str(tmp_path / "x.toml"))


def test_what_the_issue_names_is_shipped() -> None:
    assert set(scenario_names()) >= {
        "city",
        "dirty_phones",
        "flaky_network",
        "quiet_night",
        "reconnect_storm",
        "rush_hour",
        "stadium_exit",
        "thousand_cuts",
        "tunnel",
    }


@pytest.mark.parametrize("name", scenario_names())
def test_a_shipped_scenario_reads_and_says_what_it_is_for(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.title
    assert scenario.text.startswith("# ")
    assert "Leans on: " in scenario.text


@pytest.mark.parametrize("name", sorted(set(scenario_names()) - {"rush_hour", "city"}))
def test_all_but_the_large_ones_are_short_and_small(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.duration_s is not None
    assert scenario.duration_s <= 75
    assert scenario.fleet.drivers <= 300
    assert scenario.riders.map <= 150


def test_rush_hour_is_as_large_as_was_asked() -> None:
    scenario = load_scenario("rush_hour")
    assert (scenario.duration_s, scenario.fleet.drivers, scenario.fleet.interval_ms) == (300, 2_000, 1_000)
    assert scenario.riders.map == 1_000
    assert scenario.demand is not None
    assert scenario.demand.trips == 300
    assert scenario.bounds.latency_p99_ms == 500


def test_the_city_never_ends() -> None:
    scenario = load_scenario("city")
    assert scenario.duration_s is None
    assert scenario.demand is not None
    assert scenario.demand.until_s is None


@pytest.mark.parametrize("name", scenario_names())
def test_a_shipped_scenario_can_be_played(name: str) -> None:
    """Its faults are faults that exist, its riders' too, and its people find trips on its roads."""
    scenario = load_scenario(name, checks=[lambda scenario: problems_of(scenario.faults)])
    assert plan(scenario.rider_faults, scenario.riders.map, scenario.seed)
    roads, demand = load_city(scenario.city), scenario.demand
    assert demand is not None
    recorded = read_requests(demand.file) if demand.file else ()
    requests = Requests(demand, roads, Random(f"{scenario.seed}/demand"), scenario.duration_s, recorded)
    assert len(list(islice(requests, 300))) == (demand.trips or 300)


def example_of_the_page() -> str:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    return str(example)


def test_the_example_of_the_page_is_a_scenario_with_every_member() -> None:
    scenario = parse_scenario(example_of_the_page(), "page", Path(), [lambda scenario: problems_of(scenario.faults)])
    assert scenario.demand is not None
    tables = [scenario, *(getattr(scenario, name) for name in ("city", "fleet", "demand", "riders", "bounds"))]
    for table in (*tables, scenario.faults[0], scenario.rider_faults[0]):
        for name in set(table.__struct_fields__) - table.NOT_READ - {table.REST}:
            assert re.search(rf"\b{name}\b", PAGE), name


def test_the_page_names_every_shipped_scenario_finding_and_kind_of_fault() -> None:
    for name in (*scenario_names(), *KINDS, *Kind):
        assert f"`{name}`" in PAGE, name


def test_there_is_a_bound_for_every_kind_of_finding() -> None:
    assert {kind.value for kind in Kind} <= set(Bounds.__struct_fields__)
