"""Share links: made by who may, good for one trip until it ends, and refused the moment they are not."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.identity import LEEWAY_S, TokenRefused, Verifier, mint
from infra.local.engines import Engine
from ingest.trips import CANCELED, COMPLETE
from push.settings import PushSettings
from push.shares import Shares, Tokens, share_key
from stream.trip_channels import shares_key
from tests.push.read_api import KEY, WALL_S, ReadApi, assert_problem, trip_of

OTHER_KEY = "another key that is long enough for HS256"


def tokens(key: str | None = None) -> Tokens:
    return Tokens(Verifier(KEY, "HS256", "rider"), share_key(PushSettings(jwt_key=KEY)) if key is None else key)


def share_token(key: str | None = None, **claims: object) -> str:
    signing = share_key(PushSettings(jwt_key=KEY)) if key is None else key
    return mint(signing, "HS256", "share", "share:s-1", "share", WALL_S, 60, {"trip_id": "t-1", "jti": "s-1", **claims})


def test_the_holder_of_a_share_token_may_see_its_trip_and_has_no_other_scope() -> None:
    principal = tokens().verify(share_token(scope="dispatch rider"), WALL_S)
    assert (principal.scopes, principal.resource, principal.token_id) == ({"share"}, "t-1", "s-1")


def test_a_rider_token_never_has_the_scope_of_a_share() -> None:
    principal = tokens().verify(mint(KEY, "HS256", "rider", "r-1", "rider share", WALL_S, 60), WALL_S)
    assert principal.scopes == {"rider"}


def test_a_share_token_signed_with_the_riders_key_is_refused() -> None:
    """Whoever may sign for riders has no say over share links, and the other way round."""
    with pytest.raises(TokenRefused):
        tokens().verify(share_token(KEY), WALL_S)
    with pytest.raises(TokenRefused):
        tokens().verify(
            mint(share_key(PushSettings(jwt_key=KEY)), "HS256", "rider", "r-1", "rider", WALL_S, 60), WALL_S
        )


def test_a_refusal_is_told_in_the_words_of_what_the_token_calls_itself() -> None:
    with pytest.raises(TokenRefused, match="expired"):
        tokens().verify(share_token(), WALL_S + 60 + LEEWAY_S)
    with pytest.raises(TokenRefused, match="expired"):
        tokens().verify(mint(KEY, "HS256", "rider", "r-1", "rider", WALL_S - 600, 60), WALL_S)
    with pytest.raises(TokenRefused, match="jti"):
        tokens().verify(share_token(jti=""), WALL_S)
    with pytest.raises(TokenRefused, match="trip_id"):
        tokens().verify(share_token(trip_id=""), WALL_S)


@given(st.text())
def test_no_text_at_all_makes_verifying_fail_in_another_way(text: str) -> None:
    with pytest.raises(TokenRefused):
        tokens().verify(text, WALL_S)


def test_the_key_of_share_links_is_derived_only_where_the_tokens_key_is_a_secret() -> None:
    derived = share_key(PushSettings(jwt_key=KEY))
    assert derived != KEY
    assert len(derived) >= 32
    assert share_key(PushSettings(jwt_key=OTHER_KEY)) != derived
    assert share_key(PushSettings(jwt_key=KEY, share_key=OTHER_KEY)) == OTHER_KEY
    assert share_key(PushSettings(jwt_key="a public key", jwt_algorithm="ES256")) == ""
    assert OTHER_KEY not in repr(PushSettings(share_key=OTHER_KEY))


def test_without_a_key_no_share_token_is_taken_and_a_weak_one_is_named() -> None:
    with pytest.raises(TokenRefused):
        tokens(key="").verify(share_token(), WALL_S)
    with pytest.raises(ValueError, match="RIDESTREAM_SHARE_KEY"):
        tokens(key="short")


async def test_a_rider_shares_its_trip_and_revokes_the_link(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        made = await api.ask("POST", "/v1/trips/t-1/shares", api.token())
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        link = made.json()
        assert made.headers["location"] == f"/v1/trips/t-1/shares/{link['share_id']}"
        assert link["url"] == f"http://127.0.0.1:8082/share#{link['token']}"
        assert link["expires_at_ms"] == WALL_S * 1_000 + api.settings.share_lifetime_s * 1_000
        assert (await api.get("/v1/trips/t-1", link["token"])).status_code == 200
        for _ in range(2):  # as revoked the second time as the first
            gone = await api.ask("DELETE", f"/v1/trips/t-1/shares/{link['share_id']}", api.token())
            assert (gone.status_code, gone.content) == (204, b"")
        assert_problem(await api.get("/v1/trips/t-1", link["token"]), 410, "share-ended")


async def test_a_link_lasts_as_long_as_its_maker_says_and_no_longer(engine: Engine) -> None:
    async with ReadApi(engine, max_share_lifetime_s=1_000, share_lifetime_s=5_000) as api:
        await api.put_trip(trip_of(), api.car())
        short, longest = await api.share(expires_in_s=100), await api.share()
        assert longest["expires_at_ms"] == (WALL_S + 1_000) * 1_000
        api.wall_s += 99
        assert (await api.get("/v1/trips/t-1", short["token"])).status_code == 200
        api.wall_s += 1  # the token's leeway is for clocks of others; the link is our own
        assert_problem(await api.get("/v1/trips/t-1", short["token"]), 410, "share-ended")
        api.wall_s += LEEWAY_S
        assert "expired" in assert_problem(await api.get("/v1/trips/t-1", short["token"]), 401)["detail"]
        assert (await api.get("/v1/trips/t-1", longest["token"])).status_code == 200
        for bad in ({"expires_in_s": 1_001}, {"expires_in_s": 0}, {"expires_in_s": "5"}, {"expires": 5}, [1]):
            assert_problem(await api.ask("POST", "/v1/trips/t-1/shares", api.token(), bad), 422)


@pytest.mark.parametrize("state", [COMPLETE, CANCELED])
async def test_a_link_ends_with_the_trip_and_shows_no_place_afterwards(engine: Engine, state: str) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        link = await api.share()
        await api.put_trip(trip_of(state=state))
        assert_problem(await api.get("/v1/trips/t-1", link["token"]), 410, "share-ended")
        assert_problem(await api.ask("POST", "/v1/trips/t-1/shares", api.token()), 409, "trip-ended")


async def test_after_a_loss_of_redis_every_link_is_refused(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of(), api.car())
        link = await api.share()
        await api.client.flushall()
        assert_problem(await api.get("/v1/trips/t-1", link["token"]), 410, "share-ended")
        await api.put_trip(trip_of(), api.car())  # the job writes again what it holds
        assert_problem(await api.get("/v1/trips/t-1", link["token"]), 410, "share-ended")
        assert (await api.get("/v1/trips/t-1", (await api.share())["token"])).status_code == 200


async def test_a_trip_has_only_so_many_good_links_at_once(engine: Engine) -> None:
    async with ReadApi(engine, max_shares_per_trip=2) as api:
        await api.put_trip(trip_of())
        first, _ = await api.share(expires_in_s=10), await api.share()
        assert_problem(await api.ask("POST", "/v1/trips/t-1/shares", api.token()), 409, "too-many-shares")
        api.wall_s += 10
        second = await api.share()
        assert first["share_id"].encode() not in await api.client.hkeys(shares_key("t-1"))  # type: ignore[misc]
        await api.ask("DELETE", f"/v1/trips/t-1/shares/{second['share_id']}", api.token())
        await api.share()


async def test_links_made_at_once_do_not_exceed_the_number_either(engine: Engine) -> None:
    async with ReadApi(engine, max_shares_per_trip=3) as api:
        made = await asyncio.gather(*(api.shares.create("t-1", 60, WALL_S) for _ in range(12)))
        assert sum(share is not None for share in made) == 3


async def test_redis_keeps_links_until_the_last_has_ended_and_not_much_longer(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        now_s = time.time()
        await api.shares.create("t-1", 1_000, now_s)
        await api.shares.create("t-1", 10, now_s)
        left_ms = await api.client.pttl(shares_key("t-1"))
        assert 1_000_000 < left_ms <= 1_061_000


async def test_many_links_are_asked_for_at_once(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        a, b = await api.shares.create("t-1", 60, WALL_S), await api.shares.create("t-2", 30, WALL_S)
        assert a is not None
        assert b is not None
        links = [("t-1", a.share_id), ("t-2", b.share_id), ("t-2", a.share_id), ("t-3", "s"), ("t-1", "")]
        assert await api.shares.good_of(links, int(WALL_S * 1_000)) == set(links[:2])
        assert await api.shares.good_of(links, int(WALL_S * 1_000) + 30_000) == set(links[:1])
        assert await api.shares.good_of([], 0) == set()


async def test_where_links_are_off_the_setting_is_named(engine: Engine) -> None:
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of())
        off = Shares(api.client, "", 5)
        api.shares._key = ""
        assert not off.are_on
        body = assert_problem(await api.ask("POST", "/v1/trips/t-1/shares", api.token()), 404, "sharing-off")
        assert "RIDESTREAM_SHARE_KEY" in body["detail"]


async def test_a_link_begins_with_the_public_address_and_with_no_invented_one(engine: Engine) -> None:
    async with ReadApi(engine, public_http_url="https://ride.example/") as api:
        await api.put_trip(trip_of())
        assert (await api.share())["url"].startswith("https://ride.example/share#")
    async with ReadApi(engine) as api:
        await api.put_trip(trip_of())
        answer = await api.ask("POST", "/v1/trips/t-1/shares", api.token(), host="evil.example/x?")
        assert answer.json()["url"].startswith("http://127.0.0.1:8082/share#")
    with pytest.raises(ValueError, match="RIDESTREAM_PUBLIC_HTTP_URL"):
        await ReadApi(engine, public_http_url="ride.example").__aenter__()
