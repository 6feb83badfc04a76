"""Read TOML tables into structs, and say of every member what is wrong with it and where. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import ClassVar, Literal, TypeVar, Union, get_args, get_origin

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a file. A subclass names its members, and in `problems` what cannot stand together."""

    #: The member that takes whatever else the table holds; without it an unknown member is an error.
    REST: ClassVar[str] = ""
    #: Members that are not read from the file.
    NOT_READ: ClassVar[frozenset[str]] = frozenset()

    def problems(self) -> Iterable[str]:
        """What is wrong with members that are each right: `member: what to do`, naming each member that it is about."""
        return ()


T = TypeVar("T", bound=Table)


def read_table(raw: object, kind: type[T], path: str, problems: list[str]) -> T | None:
    """The table, or None after adding to `problems` whatever is wrong with it or with what it holds."""
    before = len(problems)
    table, _ = read_what_can_be(raw, kind, path, problems)
    return table if len(problems) == before else None


def read_what_can_be(raw: object, kind: type[T], path: str, problems: list[str]) -> tuple[T | None, frozenset[str]]:
    """The table without those members that are wrong, and their names; None where it cannot be without them.

    Whatever is wrong is added to `problems`.
    """
    if not isinstance(raw, dict):
        problems.append(f"{path or 'the file'}: must be a table")
        return None, frozenset()
    fields = {
        field.name: field
        for field in msgspec.structs.fields(kind)
        if field.name not in kind.NOT_READ and field.name != kind.REST
    }
    values: dict[str, object] = {}
    rest: dict[str, object] = {}
    wrong: set[str] = set()
    for name, value in raw.items():
        if name in fields:
            before = len(problems)
            values[name] = _member(value, fields[name].type, _join(path, name), problems)
            if len(problems) > before:
                wrong.add(name)
                del values[name]
        elif kind.REST:
            rest[name] = value
        else:
            problems.append(f"{_join(path, name)}: unknown member{_meant(name, fields)}")
    for name, field in fields.items():
        if field.required and name not in raw:
            problems.append(f"{_join(path, name)}: is missing")
            wrong.add(name)
    if any(fields[name].required for name in wrong):
        return None, frozenset(wrong)
    table = kind(**values | ({kind.REST: rest} if kind.REST else {}))
    # Of a member that is wrong nothing more is said, nor of what goes with it.
    problems.extend(_join(path, each) for each in table.problems() if wrong.isdisjoint(re.findall(r"\w+", each)))
    return table, frozenset(wrong)


def _member(value: object, kind: object, path: str, problems: list[str]) -> object:
    arguments = [argument for argument in get_args(kind) if argument is not NoneType]
    if get_origin(kind) in (Union, UnionType) and len(arguments) == 1:
        return _member(value, arguments[0], path, problems)
    if isinstance(kind, type) and issubclass(kind, Table):
        return read_table(value, kind, path, problems)
    if get_origin(kind) is tuple and isinstance(arguments[0], type) and issubclass(arguments[0], Table):
        if not isinstance(value, list):
            problems.append(f"{path}: must be a list of tables")
            return None
        return tuple(read_table(each, arguments[0], f"{path}[{n}]", problems) for n, each in enumerate(value))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # "Expected `float` <= 1.0 - at `$[1]`" -> "share[1]: expected float <= 1.0"
        what, _, where = str(error).partition(" - at ")
        what = what[0].lower() + what[1:].replace("`", "")
        if what.startswith("invalid enum value"):
            what = f"{what} (there is {', '.join(_choices(kind))})"
        problems.append(f"{path}{where.rpartition('$')[2].strip('`')}: {what}")
        return None


def _choices(kind: object) -> list[str]:
    """The values of the Literal in a type, wherever it stands."""
    return (
        [str(each) for each in get_args(kind)]
        if get_origin(kind) is Literal
        else [choice for part in get_args(kind) for choice in _choices(part)]
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _meant(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else f" (there is {', '.join(names)})"
