"""`python -m tests.mutations [NAME…] [--write]`: break the system, and see that the oracle says what is broken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from simulator.results.machine import this_machine, versions
from tests.mutations import page
from tests.mutations.catalogue import BLIND_SPOTS, MUTATIONS
from tests.mutations.edits import CodeMovedOn, Mutation, World, fingerprint
from tests.mutations.results import naming, said
from tests.mutations.runs import Outcome, run, tree


class Memory:
    """Outcomes by what was run; kept in a file, if one is given, so that a long evening can be interrupted."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept: dict[str, Outcome] = {}
        if path is not None and path.is_file():
            self._kept = msgspec.json.decode(path.read_bytes(), type=dict[str, Outcome])

    def get(self, key: str) -> Outcome | None:
        return self._kept.get(key)

    def put(self, key: str, outcome: Outcome) -> None:
        self._kept[key] = outcome
        if self._path is not None:
            self._path.write_bytes(msgspec.json.encode(self._kept))


def main(argv: list[str]) -> int:
    """Returns 0 when every mutation was named and every control passed, 1 when not, 2 when it could not be asked."""
    options = _parser().parse_args(argv)
    known = {mutation.name: mutation for mutation in (*MUTATIONS, *BLIND_SPOTS)}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        print(f"there is no mutation {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{one.name:<24} {one.verdict:<24} {one.says}" for one in known.values()))
        return 0
    if options.write and options.names:
        print("--write is for all of them: leave the names out", file=sys.stderr)
        return 2
    chosen = [known[name] for name in options.names] or list(MUTATIONS)
    try:
        outcomes = _run(chosen, Memory(options.keep))
    except CodeMovedOn as error:
        print(error, file=sys.stderr)
        return 2
    controls = list(dict.fromkeys(one.world.name for one in chosen))
    failed = sum(not outcomes[name].passed for name in controls)
    named = sum(naming(one, outcomes[one.name]) is not None for one in chosen)
    print(f"{named} of {len(chosen)} mutations were named; {failed} of {len(controls)} controls failed")
    if options.write:
        page.write(chosen, outcomes, this_machine(), versions())
    return 1 if failed or named < len(chosen) else 0


def _run(chosen: list[Mutation], memory: Memory) -> dict[str, Outcome]:
    """Controls and mutations, world by world."""
    outcomes: dict[str, Outcome] = {}
    worlds: dict[str, World] = {one.world.name: one.world for one in chosen}
    with tree() as original:
        for world in worlds.values():
            mutants = [one for one in chosen if one.world is world]
            for one in (None, *mutants):
                name, key = world.name if one is None else one.name, fingerprint(world, one)
                outcome = memory.get(key) or run(original, world, one.edits if one is not None else ())
                memory.put(key, outcome)
                outcomes[name] = outcome
                verdict = naming(one, outcome) if one is not None else None
                good = outcome.passed if one is None else verdict is not None
                kind = "control" if one is None else f"must break {one.verdict}"
                print(f"{'ok    ' if good else 'FAILED'} {said(name, outcome)}\n       ({kind})", flush=True)
    return outcomes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutations, and their controls")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--write", action="store_true", help="write docs/mutations.md")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep outcomes there, and do not repeat those kept")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
