"""The shipped scenarios, one TOML file each, and the opening of one by its name or of the user's own by its path."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from simulator.scenarios.scenario import Check, Scenario, ScenarioError, parse_scenario


def scenario_names() -> list[str]:
    """The shipped scenarios."""
    return sorted(each.name[:-5] for each in files("simulator.scenarios").iterdir() if each.name.endswith(".toml"))


def load_scenario(name_or_path: str, checks: Iterable[Check] = ()) -> Scenario:
    """A shipped scenario by its name, or one of the user's own by its path. Raises ScenarioError, OSError."""
    if name_or_path in scenario_names():
        text = (files("simulator.scenarios") / f"{name_or_path}.toml").read_text(encoding="utf-8")
        return parse_scenario(text, name_or_path, Path(), checks)
    path = Path(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        close = get_close_matches(name_or_path, scenario_names(), n=1)
        raise ScenarioError(
            f"no scenario {name_or_path}{f', did you mean {close[0]}?' if close else ':'} "
            f"the shipped ones are {', '.join(scenario_names())}; or give the path of a .toml file"
        )
    try:
        return parse_scenario(path.read_text(encoding="utf-8"), path.stem, path.parent, checks)
    except UnicodeDecodeError:
        raise ScenarioError(f"{path.name}: is not a text in UTF-8") from None
