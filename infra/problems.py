"""RFC 9457 problem documents: how every HTTP error of every service looks. Pure: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec

CONTENT_TYPE = "application/problem+json"
#: Problem types are documented by slug in docs/wire/problems.md; a relative URI reference is a valid `type`.
TYPE_PREFIX = "/problems/"


def problem(
    status: int,
    slug: str,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    **extensions: object,
) -> bytes:
    """The body of a problem document. `detail` says what to do and never repeats a position or a token."""
    document: dict[str, object] = {
        "type": TYPE_PREFIX + slug,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = list(errors)
    document.update(extensions)
    return msgspec.json.encode(document)
