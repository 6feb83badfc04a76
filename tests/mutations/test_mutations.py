"""The mutations still fit the code, and what they are played in can be played. Running them is `make mutations`."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.oracle.promises import ETA_ERROR, TRIPS_JUDGED
from simulator.phones.faults import problems_of
from simulator.scenarios.bounds import Bounds
from simulator.scenarios.shipped import load_scenario
from tests.mutations.catalogue import BLIND_SPOTS, MUTATIONS
from tests.mutations.edits import HERE, CodeMovedOn, Edit, Mutation

ROOT = HERE.parents[1]


@pytest.mark.parametrize("mutation", [*MUTATIONS, *BLIND_SPOTS], ids=lambda mutation: mutation.name)
def test_a_mutation_fits_the_code_as_it_is_and_leaves_it_python(mutation: Mutation) -> None:
    texts: dict[str, str] = {}
    for edit in (*mutation.world.faults, *mutation.edits):
        before = texts.get(edit.path) or (ROOT / edit.path).read_text(encoding="utf-8")
        texts[edit.path] = edit.applied(before)
    for path, text in texts.items():
        compile(text, path, "exec")


@pytest.mark.parametrize("mutation", [*MUTATIONS, *BLIND_SPOTS], ids=lambda mutation: mutation.name)
def test_a_mutation_is_to_be_named_by_a_verdict_that_there_is(mutation: Mutation) -> None:
    assert mutation.verdict in {ETA_ERROR, TRIPS_JUDGED} or getattr(Bounds(), mutation.verdict) == 0


def test_mutations_have_names_of_their_own_and_break_many_kinds_of_promises() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    assert len({mutation.verdict for mutation in MUTATIONS}) >= 10


@pytest.mark.parametrize(
    "path", sorted({str(mutation.world.path) for mutation in MUTATIONS}), ids=lambda path: Path(path).stem
)
def test_what_is_played_is_a_scenario_that_ends_soon(path: str) -> None:
    scenario = load_scenario(path, [lambda one: problems_of(one.faults)])
    assert scenario.duration_s is not None
    assert scenario.duration_s <= 40


def test_a_mutation_of_code_that_has_moved_on_says_so() -> None:
    with pytest.raises(CodeMovedOn, match="has moved on: 0 times"):
        Edit("push/cover.py", "what was there", "what is not").applied("something else")
    with pytest.raises(CodeMovedOn, match="has moved on: 2 times"):
        Edit("push/cover.py", "a", "b").applied("a a")
