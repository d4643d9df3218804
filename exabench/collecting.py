"""Keeping Python's garbage collector away from what stays: on a large board it takes a third of the time in vain."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection in this block: for reading, which makes many objects that all stay, and no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def frozen() -> Iterator[None]:
    """Collections in this block go through new objects alone; a forked process then copies none of the others."""
    was_on, was_frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.freeze()
    gc.enable()
    try:
        yield
    finally:
        if not was_frozen:
            gc.unfreeze()
        if not was_on:
            gc.disable()
