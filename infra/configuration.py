"""Write the settings of all services as a Markdown page, from the classes that read them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from infra.settings import PREFIX

_HEAD = """\
# Configuration

Every service reads its settings from environment variables, and nothing else. A variable that holds something
unusable ends the service at its start, with exit code 2 and one line that names it. Unknown variables are ignored.

`ridestream run` passes its environment on to every service it starts. `RIDESTREAM_KAFKA` and `RIDESTREAM_REDIS`, when
set, make it use those engines instead of starting embedded ones; without `RIDESTREAM_JWT_KEY` it makes a new random
key for each run. See [operations/local.md](operations/local.md).

This page is written by `make docs` from the settings classes; a test keeps it current.
"""


def page(services: Mapping[str, type[BaseSettings]]) -> str:
    """The page. `services` maps a service's name to the class of everything it reads."""
    readers: dict[str, dict[str, FieldInfo]] = {}
    for service, cls in services.items():
        for name, info in cls.model_fields.items():
            readers.setdefault(name, {})[service] = info
    parts = [_HEAD, "## Shared by several services\n"]
    parts += _table({name: by for name, by in readers.items() if len(by) > 1}, shared=True)
    for service in services:
        if own := {name: by for name, by in readers.items() if list(by) == [service]}:
            parts += [f"\n## {service}\n", *_table(own, shared=False)]
    return "\n".join(parts) + "\n"


def _table(readers: Mapping[str, Mapping[str, FieldInfo]], shared: bool) -> list[str]:
    rows = [["variable", "default", "allowed", "meaning", *(["read by"] if shared else [])]]
    rows.append(["---"] * len(rows[0]))
    for name, by in readers.items():
        defaults, allowed, meanings = (
            _agreed({service: tell(info) for service, info in by.items()}) for tell in (_default, _allowed, _meaning)
        )
        row = [f"`{PREFIX}{name.upper()}`", defaults, allowed, meanings]
        rows.append([*row, ", ".join(by)] if shared else row)
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _agreed(told: Mapping[str, str]) -> str:
    """What all services say, or, where they differ, what each says."""
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return " ".join(f"{service}: {text}" for service, text in told.items())


def _meaning(info: FieldInfo) -> str:
    return info.description or ""


def _default(info: FieldInfo) -> str:
    value = info.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "(empty)" if value == "" else f"`{value}`"


def _allowed(info: FieldInfo) -> str:
    if info.annotation is bool:
        return "`true`, `false`"
    bounds = {name: getattr(item, name) for item in info.metadata for name in ("ge", "gt", "le", "lt", "pattern")
              if getattr(item, name, None) is not None}  # fmt: skip
    if "pattern" in bounds:
        return ", ".join(f"`{choice}`" for choice in str(bounds["pattern"]).strip("^$()").split("|"))
    kind = "integer" if info.annotation is int else "number" if info.annotation is float else "text"
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join([kind, *(f"{words[name]} {bounds[name]:,}" for name in words if name in bounds)])
