"""docs/mutations.md, written from the outcomes of all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator.results.machine import Machine
from tests.mutations.catalogue import BLIND_SPOTS
from tests.mutations.edits import Mutation
from tests.mutations.results import controls, naming, rows
from tests.mutations.runs import ROOT, Outcome

PAGE = ROOT / "docs" / "mutations.md"
TEXT = """\
# Mutations

Is a passed run worth anything? For each promise the system was broken on purpose, in the way a plausible bug would do
it, and a run on the embedded engines had to fail, by the verdict of [the oracle](oracle.md) that names what is
broken. The same run on the system as it is has to pass: else it would show nothing.

```console
$ make mutations                                          # all of them, about half an hour
$ .venv/bin/python -m tests.mutations gap_ignored         # one, and the run without it
$ .venv/bin/python -m tests.mutations --write             # all, and this page
```

Each mutation is one or a few exact replacements in a copy of the code (`tests/mutations/catalogue.py`); the simulator
that judges is not changed. A text that is not found exactly once is an error, and a test of the default suite sees
that all still fit.

{named} of {count} mutations were named.

{rows}

*Named by* has how often the verdict was found, and *first case* when in the run, and its evidence. *Broken too* are
other verdicts that the same run broke: a lie is rarely alone.

## What was played

{controls}

A fault is something outside of us that goes wrong (a frame that Kafka does not take, a published change that does not
arrive), put in by a replacement too. The system must survive it, and the control shows that it does; the mutation is
what makes it tell.

## What no run can show

Some promises are kept in two places, and breaking one of them changes nothing that anybody could see. Then the
mutation breaks both:

- A silent car is evicted from the index by stream, and hidden by push on its own account (`no_eviction`).
- A newer fix wins in stream, in push's copy, and by push's mark of the newest that was ever shown (`arrival_order`).
- A late fix joins a trip's track as it comes, and once more, with the last 20,000 pings, at the trip's next change
  (`backfill_lost`).
- A trip's car is taken away by stream at the end, and not shown by push (`shown_after_the_end`).

## What the oracle does not look at

Broken as above, and passed all the same. Played when they are named (`python -m tests.mutations distance_doubled`).

{blind}

Made with {versions}; {machine}.
"""


def write(chosen: Sequence[Mutation], outcomes: Mapping[str, Outcome], machine: Machine, of: Mapping[str, str]) -> None:
    """Write the page."""
    worlds = {one.world.name: one.world for one in chosen}
    PAGE.write_text(
        TEXT.format(
            named=sum(naming(one, outcomes[one.name]) is not None for one in chosen),
            count=len(chosen),
            rows=rows(chosen, outcomes),
            controls=controls(worlds.values(), outcomes),
            blind="\n".join(f"- `{one.name}` ({one.files[0]}): {one.says}." for one in BLIND_SPOTS),
            versions=", ".join(f"{name} {version}" for name, version in of.items()),
            machine=f"{machine.python}, {machine.system}, {machine.processor}, {machine.cores} cores",
        ),
        encoding="utf-8",
    )
