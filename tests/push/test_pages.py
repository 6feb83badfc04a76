"""The live map's HTTP side: files, configuration, cells, guest tokens, and what it refuses."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path

import h3.api.basic_int as h3
import httpx
import pytest
from prometheus_client import CollectorRegistry

from infra.clock import WallClock
from infra.health import Health
from infra.identity import Verifier, mint
from push.assets import BUNDLED_BASE_MAP, LEAFLET, WEB, load_folder
from push.cells import MAX_CELLS, cells_around, cells_geojson
from push.pages import build_pages, ws_url
from push.settings import PushSettings

KEY = "a-secret-of-more-than-thirty-two-bytes"
OWN = {"origin": "http://127.0.0.1:8082", "sec-fetch-site": "same-origin"}


def client(waits_for: str | None = None, **settings: object) -> httpx.AsyncClient:
    merged = PushSettings(**{"jwt_key": KEY, "guest_riders": True, **settings})
    app = build_pages(merged, WallClock(), Health(lambda: waits_for, CollectorRegistry()))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8082")


def assert_problem(response: httpx.Response, status: int) -> dict[str, object]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = response.json()
    assert body["status"] == status
    return body


@pytest.mark.parametrize(("path", "name"), [("/", "map"), ("/share", "share")])
async def test_a_page_and_all_it_names_are_served_by_us(path: str, name: str) -> None:
    async with client() as http:
        page = (await http.get(path)).text
        named = re.findall(r'(?:src|href)="([^"#]+)"', page)
        assert {f"/web/{name}.js", f"/web/{name}.css", "/leaflet/leaflet.js", "/leaflet/leaflet.css"} <= set(named)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page), (
            "the policy allows no inline code"
        )
        modules = [path.name for path in WEB.glob("*.js")]
        for path in [*named, *(f"/web/{name}" for name in modules)]:
            assert (await http.get(path)).status_code == 200, path
            for imported in re.findall(r'from "\./([^"]+)"', (await http.get(path)).text):
                assert imported in modules


async def test_no_file_of_the_page_names_a_foreign_address_but_for_the_two_credits() -> None:
    for path in WEB.rglob("*"):
        if path.suffix in {".js", ".html", ".css"}:
            found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)<]*", path.read_text()))
            allowed = {"https://leafletjs.com", "https://www.openstreetmap.org/copyright"}
            assert {each for each in found if each.startswith(("http", "//"))} <= allowed, path


async def test_an_unchanged_file_is_answered_with_304_and_a_changed_one_is_not() -> None:
    async with client() as http:
        first = await http.get("/web/map.css")
        again = await http.get("/web/map.css", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await http.get("/web/map.css", headers={"if-none-match": '"other"'})).status_code == 200


async def test_the_base_map_is_geojson_and_travels_compressed_to_those_who_accept_it() -> None:
    async with client() as http:
        packed = await http.get("/data/base-map.geojson", headers={"accept-encoding": "gzip"})
        plain = await http.get("/data/base-map.geojson", headers={"accept-encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.json() == plain.json()
        assert int(packed.headers["content-length"]) < 80_000
        assert plain.headers["content-type"] == "application/geo+json"
        assert "© OpenStreetMap contributors" in plain.json()["attribution"]


async def test_another_base_map_can_be_given_and_a_bad_one_is_named(tmp_path: Path) -> None:
    city = tmp_path / "city.geojson"
    city.write_text('{"type":"FeatureCollection","features":[]}')
    async with client(map_geojson=str(city), map_center="41.15,-8.61") as http:
        assert (await http.get("/data/base-map.geojson")).json()["features"] == []
        assert (await http.get("/v1/map-config")).json()["center"] == {"lat": 41.15, "lon": -8.61}
    city.write_text("[]")
    for path in (city, tmp_path / "absent.geojson"):
        with pytest.raises(ValueError, match="RIDESTREAM_MAP_GEOJSON"):
            client(map_geojson=str(path))
    with pytest.raises(ValueError, match="RIDESTREAM_MAP_CENTER"):
        client(map_center="91,0")


async def test_every_answer_allows_only_own_scripts_and_the_own_socket() -> None:
    async with client(push_port=9001) as http:
        for path in ("/", "/share", "/v1/map-config", "/nowhere", "/livez"):
            headers = (await http.get(path)).headers
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == "'self'"
            assert policy["connect-src"] == "'self' ws://127.0.0.1:9001"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"


async def test_without_a_stage_nothing_is_asked_of_one_and_nothing_is_framed() -> None:
    async with client() as http:
        assert (await http.get("/v1/map-config")).json()["stage_url"] == ""
        for path in ("/", "/share"):
            policy = (await http.get(path)).headers["content-security-policy"]
            assert "frame-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy


async def test_with_a_stage_the_map_may_read_it_and_frame_the_page_of_a_shared_trip_only() -> None:
    async with client(stage_url="http://127.0.0.1:8083", push_port=9001) as http:
        assert (await http.get("/v1/map-config")).json()["stage_url"] == "http://127.0.0.1:8083"
        page = (await http.get("/")).headers["content-security-policy"]
        assert "connect-src 'self' ws://127.0.0.1:9001 http://127.0.0.1:8083;" in page
        assert "frame-src 'self'" in page
        assert "frame-ancestors 'none'" in page
        assert "frame-ancestors 'self'" in (await http.get("/share")).headers["content-security-policy"]


@pytest.mark.parametrize("url", ["127.0.0.1:8083", "http://a b", "http://a; script-src *", "http://a/path", "ws://a"])
def test_a_stage_that_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="stage_url"):
        PushSettings(stage_url=url)


def test_the_page_is_told_the_socket_of_the_host_it_asked() -> None:
    settings = PushSettings(push_port=9001)
    assert ws_url(settings, "127.0.0.1:8082", "http") == "ws://127.0.0.1:9001/v1/stream"
    assert ws_url(settings, "[::1]:8082", "http") == "ws://[::1]:9001/v1/stream"
    assert ws_url(settings, "map.example", "https") == "wss://map.example:9001/v1/stream"
    assert ws_url(settings, "evil'; script-src *", "http") == "ws://127.0.0.1:9001/v1/stream"
    public = PushSettings(public_ws_url="wss://push.example/v1/stream")
    assert ws_url(public, "map.example", "https") == "wss://push.example/v1/stream"


async def test_what_is_not_there_is_a_problem_document() -> None:
    async with client() as http:
        for path in (
            "/nowhere",
            "/web/nothing.js",
            "/web/../pages.py",
            "/web/%2e%2e/pages.py",
            "/leaflet/leaflet-src.js",
        ):
            assert_problem(await http.get(path), 404)
        assert_problem(await http.post("/v1/map-config"), 405)
        assert_problem(await http.get("/v1/guest-tokens"), 405)


async def test_probes_and_metrics_are_served_beside_the_map() -> None:
    async with client() as http:
        assert (await http.get("/livez")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200
    async with client("Redis is away") as http:
        assert assert_problem(await http.get("/readyz"), 503)["detail"] == "Redis is away"


async def test_a_guest_gets_a_short_token_that_a_rider_may_use_and_renews_it_as_the_same_guest() -> None:
    verifier = Verifier(KEY, "HS256", "rider")
    async with client() as http:
        first = await http.post("/v1/guest-tokens", headers=OWN)
        assert (first.status_code, first.headers["cache-control"]) == (201, "no-store")
        principal = verifier.verify(first.json()["token"], time.time())
        assert principal.subject.startswith("guest-")
        assert principal.scopes == {"rider"}
        assert principal.expires_at_s <= time.time() + 600
        bearer = {"authorization": f"Bearer {first.json()['token']}"}
        renewed = await http.post("/v1/guest-tokens", headers=OWN | bearer)
        assert renewed.json()["subject"] == principal.subject
        assert (await http.post("/v1/guest-tokens", headers=OWN)).json()["subject"] != principal.subject


async def test_a_guest_cannot_become_somebody_by_renewing_another_token() -> None:
    now_s = time.time()
    others = [
        mint(KEY, "HS256", "rider", "rider-7", "rider", now_s, 600),
        mint(KEY, "HS256", "ingest", "guest-1", "driver", now_s, 600),
        mint("another-secret-of-more-than-32-bytes!", "HS256", "rider", "guest-1", "rider", now_s, 600),
        mint(KEY, "HS256", "rider", "guest-1", "rider", now_s - 1_000, 600),
    ]
    async with client() as http:
        for token in [*others, "nonsense"]:
            answer = await http.post("/v1/guest-tokens", headers=OWN | {"authorization": f"Bearer {token}"})
            assert answer.json()["subject"] not in ("rider-7", "guest-1")


async def test_guest_tokens_are_for_the_own_page_only() -> None:
    strangers = [
        {},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:8082", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "null"},
        # A foreign name that resolves to this machine: same origin to the browser, unknown to us.
        {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    ]
    async with client() as http:
        for headers in strangers:
            assert_problem(await http.post("/v1/guest-tokens", headers=headers), 403)
    ours = {"host": "map.example", "origin": "https://map.example", "sec-fetch-site": "same-origin"}
    async with client(allowed_origins="https://map.example") as http:
        assert (await http.post("/v1/guest-tokens", headers=ours)).status_code == 201


async def test_without_guests_nobody_gets_a_token() -> None:
    async with client(guest_riders=False) as http:
        body = assert_problem(await http.post("/v1/guest-tokens", headers=OWN), 404)
        assert "RIDESTREAM_GUEST_RIDERS" in str(body["detail"])
        assert (await http.get("/v1/map-config")).json()["guest_riders"] is False


async def test_cells_are_hexagons_around_the_place_and_no_cache_keeps_them() -> None:
    async with client() as http:
        answer = await http.get("/v1/cells", params={"lat": 40.75, "lon": -73.98, "radius_m": 500})
        assert answer.headers["content-type"] == "application/geo+json"
        assert answer.headers["cache-control"] == "no-store"
        features = answer.json()["features"]
        assert h3.int_to_str(h3.latlng_to_cell(40.75, -73.98, 9)) == features[0]["id"]
        assert all(len(feature["geometry"]["coordinates"][0]) == 7 for feature in features)


async def test_cells_asked_for_badly_are_refused_without_repeating_the_place() -> None:
    bad = [
        {"lat": 91, "lon": 0.123456, "radius_m": 10},
        {"lat": "nan", "lon": 0.123456, "radius_m": 10},
        {"lat": 40, "lon": 0.123456, "radius_m": 5_001},
        {"lat": 40, "lon": 0.123456, "radius_m": -1},
        {"lon": 0.123456},
    ]
    async with client() as http:
        for params in bad:
            assert "123456" not in json.dumps(assert_problem(await http.get("/v1/cells", params=params), 422))


@pytest.mark.parametrize(("lat", "lon"), [(40.75, -73.98), (0, 0), (89.9, 10), (58.15750, 10.45341), (-17.5, 179.999)])
@pytest.mark.parametrize("radius_m", [0, 250, 3_000])
def test_cells_cover_the_whole_circle(lat: float, lon: float, radius_m: float) -> None:
    cells = set(cells_around(lat, lon, radius_m))
    assert len(cells) < MAX_CELLS
    for far in (0.0, 0.5, 0.9999):
        for bearing in range(0, 360, 10):
            assert h3.latlng_to_cell(*_moved(lat, lon, bearing, far * radius_m), 9) in cells


def test_a_cell_on_the_antimeridian_is_drawn_in_one_piece() -> None:
    for feature in cells_geojson(-17.5, 179.999, 1_000)["features"]:
        lons = [lon for lon, _ in feature["geometry"]["coordinates"][0]]
        assert max(lons) - min(lons) < 1


def test_cells_of_a_circle_wider_than_a_screen_are_capped_from_the_rim() -> None:
    cells = cells_around(40.75, -73.98, 20_000)
    assert len(cells) == MAX_CELLS
    assert cells[0] == h3.latlng_to_cell(40.75, -73.98, 9)


def test_the_shipped_base_map_is_small_and_leaflet_comes_from_its_package() -> None:
    assert BUNDLED_BASE_MAP.stat().st_size < 120_000
    classes = {f["properties"]["class"] for f in json.loads(gzip.decompress(BUNDLED_BASE_MAP.read_bytes()))["features"]}
    assert classes == {"land", "park", "minor", "medium", "major", "label"}
    assert "/leaflet/leaflet.js" in load_folder(LEAFLET, "/leaflet/")
    assert not list(WEB.rglob("*leaflet*"))


def _moved(lat: float, lon: float, bearing_deg: float, metres: float) -> tuple[float, float]:
    """A point `metres` away on the sphere that h3 measures on."""
    from math import asin, atan2, cos, degrees, radians, sin

    arc, bearing = metres / 6_371_007.180918475, radians(bearing_deg)
    phi = asin(sin(radians(lat)) * cos(arc) + cos(radians(lat)) * sin(arc) * cos(bearing))
    turn = atan2(sin(bearing) * sin(arc) * cos(radians(lat)), cos(arc) - sin(radians(lat)) * sin(phi))
    return degrees(phi), (lon + degrees(turn) + 540) % 360 - 180
