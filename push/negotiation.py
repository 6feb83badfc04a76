"""HTTP's choices and conditions (RFC 9110): the media type a client takes, and whether it has a body already. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

#: A weight: 0 to 1 with up to three decimals.
_WEIGHT: Final = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")
_TAG: Final = re.compile(r'(?:W/)?"([^"]*)"')


def choose(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type that `accept` gives the greatest weight, the first of several; None when it takes none.

    Without the header, and with an empty one, everything is taken. A range that is none is passed over.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [each for part in accept.split(",") if (each := _range(part)) is not None]
    weights = {media_type: _weight(media_type, ranges) for media_type in offered}
    best = max(offered, key=weights.__getitem__)
    return best if weights[best] > 0 else None


def _range(part: str) -> tuple[str, float] | None:
    name, *parameters = (each.strip().lower() for each in part.split(";"))
    if name.count("/") != 1:
        return None
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return (name, float(value)) if _WEIGHT.fullmatch(value.strip()) else None
    return name, 1.0


def _weight(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The most specific range that names the type decides, wherever it stands."""
    for name in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        found = [weight for range_, weight in ranges if range_ == name]
        if found:
            return max(found)
    return 0.0


def strong_tag(body: bytes) -> str:
    """An ETag of these very bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def weak_tag(content: bytes) -> str:
    """An ETag of what a body says, where its bytes also say what time it is."""
    return f"W/{strong_tag(content)}"


def has_it(if_none_match: str | None, tag: str) -> bool:
    """Whether a client that sent `if_none_match` has what `tag` names (weak comparison, RFC 9110 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag.removeprefix("W/").strip('"') in _TAG.findall(if_none_match)
