"""Tokens: whom we believe, and whom we do not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from infra.identity import CACHED_FOR_S, LEEWAY_S, TokenRefused, Verifier, mint

KEY = "a-key-for-tests-that-is-long-enough!"
NOW_S = 1_700_000_000.0


def pem(key: Any) -> tuple[str, str]:
    """The private and the public key as PEM."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


RSA_PRIVATE, RSA_PUBLIC = pem(rsa.generate_private_key(public_exponent=65_537, key_size=2_048))


def b64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def forge(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    """A token signed by hand, because a library refuses to make these. HMAC-SHA256, or no signature."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    signature = b"" if key is None else hmac.digest(key, signed.encode(), hashlib.sha256)
    return f"{signed}.{b64(signature)}"


def claims(**changes: Any) -> dict[str, Any]:
    both = {"sub": "d-1", "aud": "ingest", "scope": "driver", "exp": NOW_S + 600, **changes}
    return {name: value for name, value in both.items() if value is not None}


def signed(**changes: Any) -> str:
    return forge({"alg": "HS256", "typ": "JWT"}, claims(**changes), KEY.encode())


@pytest.fixture
def verifier() -> Verifier:
    return Verifier(KEY, "HS256", "ingest")


@given(st.text(min_size=1), st.lists(st.from_regex(r"[a-z]+", fullmatch=True)))
def test_a_minted_token_names_its_subject_and_scopes(subject: str, scopes: list[str]) -> None:
    token = mint(KEY, "HS256", "ingest", subject, " ".join(scopes), NOW_S, 60)
    principal = Verifier(KEY, "HS256", "ingest").verify(token, NOW_S)
    assert (principal.subject, principal.scopes, principal.expires_at_s) == (subject, frozenset(scopes), NOW_S + 60)


def test_a_token_signed_with_another_key_is_refused(verifier: Verifier) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(mint("another-key-that-is-long-enough-too!", "HS256", "ingest", "d-1", "", NOW_S, 60), NOW_S)


def test_a_token_without_a_signature_is_refused(verifier: Verifier) -> None:
    for algorithm in ("none", "None", "NONE", "nOnE"):
        for key in (None, b"", KEY.encode()):
            with pytest.raises(TokenRefused):
                verifier.verify(forge({"alg": algorithm, "typ": "JWT"}, claims(), key), NOW_S)


def test_a_public_key_is_no_shared_secret() -> None:
    """HS256 with the RS256 public key as its secret: who takes the algorithm from the header believes it."""
    verifier = Verifier(RSA_PUBLIC, "RS256", "ingest")
    for secret in (RSA_PUBLIC.encode(), RSA_PUBLIC.strip().encode()):
        with pytest.raises(TokenRefused):
            verifier.verify(forge({"alg": "HS256", "typ": "JWT"}, claims(), secret), NOW_S)
    assert verifier.verify(jwt.encode(claims(), RSA_PRIVATE, "RS256"), NOW_S).subject == "d-1"


def test_a_key_that_the_token_brings_along_is_ignored(verifier: Verifier) -> None:
    own = "the-forger's-own-key-is-long-enough!"
    header = {
        "alg": "HS256",
        "typ": "JWT",
        "kid": "../../../dev/null",
        "jku": "http://127.0.0.1:1/jwks.json",
        "jwk": {"kty": "oct", "k": b64(own.encode())},
    }
    with pytest.raises(TokenRefused):
        verifier.verify(forge(header, claims(), own.encode()), NOW_S)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("ES256", ec.generate_private_key(ec.SECP256R1())), ("EdDSA", ed25519.Ed25519PrivateKey.generate())],
)
def test_other_public_key_algorithms_work(algorithm: str, key: Any) -> None:
    private, public = pem(key)
    token = jwt.encode(claims(), private, algorithm)
    assert Verifier(public, algorithm, "ingest").verify(token, NOW_S).subject == "d-1"
    with pytest.raises(TokenRefused):
        Verifier(RSA_PUBLIC, "RS256", "ingest").verify(token, NOW_S)


@pytest.mark.parametrize("audience", ["rider", "", "ingest ", "INGEST", None, ["rider", "webhook"], 7])
def test_a_token_for_another_audience_is_refused(verifier: Verifier, audience: object) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(signed(aud=audience), NOW_S)


def test_a_refusal_says_what_kind_of_token_would_do(verifier: Verifier) -> None:
    with pytest.raises(TokenRefused, match="its aud must be ingest"):
        verifier.verify(signed(aud="rider"), NOW_S)
    for word in ("", "d-1", "a.b.c"):
        with pytest.raises(TokenRefused, match="not a JSON Web Token"):
            verifier.verify(word, NOW_S)


@pytest.mark.parametrize("claim", ["exp", "aud", "sub"])
def test_a_token_that_lacks_a_claim_is_refused(verifier: Verifier, claim: str) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(signed(**{claim: None}), NOW_S)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": ""},
        {"sub": 7},
        {"sub": ["d-1"]},
        {"scope": 7},
        {"scope": ["driver"]},
        {"exp": "soon"},
        {"exp": [1]},
        {"nbf": "later"},
        {"exp": "NaN"},
        {"nbf": "NaN"},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": "1700000600"},
        {"iat": "1700000000"},
        {"iat": "NaN"},
        {"iat": [1]},
        {"iat": float("nan")},
        {"iat": float("inf")},
        {"iat": float("-inf")},
        {"iat": 10**400},
    ],
)
def test_a_token_with_a_claim_of_another_type_is_refused(verifier: Verifier, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        verifier.verify(signed(**changes), NOW_S)


@given(st.floats(min_value=-1e6, max_value=1e6))
def test_a_token_is_good_until_it_expires_and_no_longer(offset_s: float) -> None:
    verifier, expires_at_s = Verifier(KEY, "HS256", "ingest"), NOW_S
    token = signed(exp=expires_at_s)
    if expires_at_s + LEEWAY_S <= NOW_S + offset_s:
        with pytest.raises(TokenRefused, match="expired"):
            verifier.verify(token, NOW_S + offset_s)
    else:
        verifier.verify(token, NOW_S + offset_s)


def test_a_remembered_token_is_not_accepted_past_its_expiry(verifier: Verifier) -> None:
    token = signed(exp=NOW_S + 5)
    verifier.verify(token, NOW_S)
    with pytest.raises(TokenRefused, match="expired"):
        verifier.verify(token, NOW_S + 5 + LEEWAY_S)


def test_a_remembered_token_is_looked_at_again_after_a_while(verifier: Verifier) -> None:
    token = signed(exp=NOW_S + 3_600)
    assert verifier.verify(token, NOW_S) is verifier.verify(token, NOW_S + CACHED_FOR_S - 1)
    assert verifier.verify(token, NOW_S) is not verifier.verify(token, NOW_S + CACHED_FOR_S)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("now_s", [NOW_S, time.time(), 4e9], ids=["past", "now", "future"])
def test_a_token_from_the_future_is_refused_unless_only_a_clock_is_off(
    verifier: Verifier, claim: str, now_s: float
) -> None:
    """`now_s` long ago, now and far ahead: the clock of the machine has no say."""
    starts = {claim: now_s + LEEWAY_S, "exp": now_s + 600}
    with pytest.raises(TokenRefused, match="not valid yet"):
        verifier.verify(signed(**{**starts, claim: now_s + LEEWAY_S + 0.01}), now_s)
    assert verifier.verify(signed(**starts), now_s).subject == "d-1"


def test_an_early_start_does_not_hide_a_late_issue_nor_the_other_way_round(verifier: Verifier) -> None:
    for late, early in (("nbf", "iat"), ("iat", "nbf")):
        with pytest.raises(TokenRefused, match="not valid yet"):
            verifier.verify(signed(**{late: NOW_S + LEEWAY_S + 1, early: NOW_S - 1}), NOW_S)


@given(st.text(st.characters()))
@example("\ud800.\ud800.\ud800")
def test_no_text_at_all_makes_the_verifier_fail_in_another_way(text: str) -> None:
    with pytest.raises(TokenRefused):
        Verifier(KEY, "HS256", "ingest").verify(text, NOW_S)


@given(st.data())
def test_no_changed_character_of_the_signed_part_goes_unnoticed(data: st.DataObject) -> None:
    token = signed()
    at = data.draw(st.integers(min_value=0, max_value=token.rindex(".") - 1))
    other = data.draw(st.sampled_from("ABCDEFabcdef0123456789-_.").filter(lambda c: c != token[at]))
    with pytest.raises(TokenRefused):
        Verifier(KEY, "HS256", "ingest").verify(token[:at] + other + token[at + 1 :], NOW_S)


def test_why_a_token_was_refused_does_not_repeat_the_token(verifier: Verifier) -> None:
    token = signed(exp=NOW_S - 100, sub="a-secret-subject")
    for attempt in (token, token[:-2], token.replace(".", "!")):
        with pytest.raises(TokenRefused) as refused:
            verifier.verify(attempt, NOW_S)
        assert not any(part and part in str(refused.value) for part in attempt.split("."))
        assert "a-secret-subject" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "message"), [("", "RIDESTREAM_JWT_KEY is not set"), ("short", "shorter than 32 bytes")]
)
def test_a_key_that_protects_nothing_is_refused_at_the_start(key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Verifier(key, "HS256", "ingest")


def share(**changes: Any) -> str:
    return mint(KEY, "HS256", "share", "share:s-1", "", NOW_S, 600, {"trip_id": "t-1", "jti": "s-1", **changes})


def test_a_token_for_one_thing_says_for_which_and_how_it_is_called() -> None:
    principal = Verifier(KEY, "HS256", "share", "trip_id").verify(share(), NOW_S)
    assert (principal.subject, principal.resource, principal.token_id) == ("share:s-1", "t-1", "s-1")


@pytest.mark.parametrize("trip_id", [None, "", 7, ["t-1"], {"t-1": 1}])
def test_a_token_for_one_thing_that_does_not_say_for_which_is_refused(trip_id: object) -> None:
    with pytest.raises(TokenRefused, match="trip_id"):
        Verifier(KEY, "HS256", "share", "trip_id").verify(share(trip_id=trip_id), NOW_S)


@pytest.mark.parametrize("token_id", [None, 7, ["s-1"]])
def test_a_token_whose_name_is_not_a_string_is_refused(token_id: object) -> None:
    with pytest.raises(TokenRefused):
        Verifier(KEY, "HS256", "share", "trip_id").verify(share(jti=token_id), NOW_S)


def test_no_claim_beside_the_others_replaces_them() -> None:
    claims = {"sub": "r-2", "aud": "ingest", "exp": NOW_S * 2, "scope": "dispatch"}
    principal = Verifier(KEY, "HS256", "rider").verify(mint(KEY, "HS256", "rider", "r-1", "", NOW_S, 5, claims), NOW_S)
    assert (principal.subject, principal.scopes, principal.expires_at_s) == ("r-1", frozenset(), NOW_S + 5)


def test_a_key_that_protects_nothing_is_named_by_its_setting() -> None:
    with pytest.raises(ValueError, match="RIDESTREAM_SHARE_KEY is shorter than 32 bytes"):
        Verifier("short", "HS256", "share", key_name="RIDESTREAM_SHARE_KEY")
