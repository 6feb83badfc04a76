"""The live map's files, read once at start and answered from memory with an ETag, compressed where that helps."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from xstatic.pkg import leaflet

WEB = Path(__file__).parent / "web"
BUNDLED_BASE_MAP = WEB / "data" / "manhattan.geojson.gz"
LEAFLET = Path(leaflet.BASE_DIR)

CONTENT_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".geojson": "application/geo+json",
}
#: Below this gzip saves less than its own header and the variant's bookkeeping are worth.
COMPRESS_FROM_BYTES = 1_024
#: Names carry no version, so a browser asks each time and is answered 304: an upgrade shows at the next reload.
CACHE_CONTROL = "no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `compressed` is its gzip form, or None where that is not smaller."""

    body: bytes
    compressed: bytes | None
    content_type: str
    etag: str

    def respond(self, request: Request) -> Response:
        """200 with the body the client accepts, or 304 when it has this very one."""
        headers = {"etag": self.etag, "cache-control": CACHE_CONTROL, "vary": "accept-encoding"}
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if self.etag.removeprefix("W/") in known:
            return Response(status_code=304, headers=headers)
        if self.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                self.compressed, headers={**headers, "content-encoding": "gzip"}, media_type=self.content_type
            )
        return Response(self.body, headers=headers, media_type=self.content_type)


def asset(body: bytes, suffix: str) -> Asset:
    """An asset of these bytes. The tag is weak, because both encodings share it."""
    compressed = gzip.compress(body, 9, mtime=0) if len(body) >= COMPRESS_FROM_BYTES and suffix != ".png" else None
    if compressed is not None and len(compressed) >= len(body):
        compressed = None
    return Asset(body, compressed, CONTENT_TYPES[suffix], f'W/"{hashlib.sha256(body).hexdigest()[:24]}"')


def load_folder(folder: Path, prefix: str) -> dict[str, Asset]:
    """URL path -> asset for each file in `folder` that the page may need; sources and source maps are left out."""
    return {
        f"{prefix}{path.relative_to(folder).as_posix()}": asset(path.read_bytes(), path.suffix)
        for path in sorted(folder.rglob("*"))
        if path.suffix in CONTENT_TYPES and path.suffix != ".geojson" and "-src" not in path.name
    }


def load_base_map(path: Path) -> Asset:
    """A base map from a .geojson or .geojson.gz file. Raises ValueError that names the setting when it is none."""
    try:
        raw = path.read_bytes()
        body = gzip.decompress(raw) if path.suffix == ".gz" else raw
        if json.loads(body)["type"] != "FeatureCollection":
            raise ValueError
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"RIDESTREAM_MAP_GEOJSON: {path} is not a GeoJSON FeatureCollection; make one with python -m push.basemap"
        ) from None
    return asset(body, ".geojson")
