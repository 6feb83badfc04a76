"""How Python's collector of garbage is kept from holding up a run."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: For `gc.set_threshold`: in a rush hour three collections a second of up to 3 ms, 3 ms a second in all, and none of
#: all that a run remembers. As Python has it they are sixteen a second and 7 ms, and now and then one that takes 8 ms
#: after ten seconds, and grows.
GC_THRESHOLDS = (2_000, 2, 10_000)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """What was built before the run lives until its end: no collection should walk through it meanwhile.

    Nor through all that the run remembers, and seldom through what is new: what is on its way, and what waits to be
    counted, is often a few thousand objects, and hardly any of them are cycles.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
