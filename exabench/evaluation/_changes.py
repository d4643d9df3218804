"""Keeping a result: never without a line in the change log that says why its number is another one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from exabench.errors import BadInput, CheckFailed
from exabench.ledger import Ledger, last_values, read_result
from exabench.measuring import today
from exabench.nouns import Change, Result, Run

SAME = 1e-9
"""Two numbers that are no further apart are one."""
_FIRST = "first result"
_BEFORE_THE_LOG = "was there before the change log began"


class Keeper:
    """Writes the results of a board, one after the other; whoever has one holds the board alone.

    The line of the change log comes before the result: one that is killed between the two writes the result the next
    time, and no second line. `reason` stands in all lines instead of what follows from the results.
    """

    def __init__(self, ledger: Ledger, reason: str = "") -> None:
        self._ledger, self._reason = ledger, reason
        self._last = last_values(ledger.changes())

    def keep(self, result: Result, run: Run | None = None) -> Path:
        """File a result, and the run that it was made from where exabench made it.

        Raises CheckFailed for a number that changed though nothing that it is made of did.
        """
        ledger, names = self._ledger, (result.submission, result.task, result.candidates.name)
        filed = _filed(ledger.result_file(*names))
        change = self._change(result, filed)
        if run is not None:
            ledger.add_run(*names, run)
        if change is not None:
            ledger.add_changes([change])
            self._last[change.submission, change.task, change.candidates, change.metric] = change.after
        return ledger.result_file(*names) if filed == result else ledger.add_result(result)

    def _change(self, result: Result, filed: Result | None) -> Change | None:
        metric = result.measurement.headline
        cell = (result.submission, result.task, result.candidates.name, metric)
        before, after = self._last.get(cell), result[metric]
        if before is not None and abs(before - after) <= SAME:
            return None
        reason = self._reason or self._why(result, filed, before)
        return Change(today(), *cell, before=before, after=after, reason=reason)

    def _why(self, result: Result, filed: Result | None, before: float | None) -> str:
        if before is None:
            return _BEFORE_THE_LOG if filed == result else _FIRST
        if filed is None:
            return "made again; the result before it is not there to compare"
        if found := "; ".join(differing(filed, result)):
            return found
        raise CheckFailed(
            f"{self._ledger.result_file(result.submission, result.task, result.candidates.name)}: "
            f"{result.measurement.headline} would change from {before:.6f} to {result[result.measurement.headline]:.6f}"
            " though run, candidates, judgements, convention, model and versions are the same; say why with --reason"
        )

    def gone(self, slugs: Collection[str]) -> None:
        """Log the numbers of these submissions whose results are no longer there."""
        lost = []
        for (slug, task, candidates, metric), value in self._last.items():
            there = self._ledger.result_file(slug, task, candidates).is_file()
            if slug in slugs and value is not None and not there:
                reason = self._reason or "its run or its candidates were taken away"
                lost.append(Change(today(), slug, task, candidates, metric, before=value, after=None, reason=reason))
        self._ledger.add_changes(lost)
        self._last |= {(c.submission, c.task, c.candidates, c.metric): None for c in lost}


def differing(before: Result, after: Result) -> list[str]:
    """What two results of one cell were made of, where it differs: in words, for the change log."""
    found = []
    for what, old, new in (
        ("run", before.run_digest, after.run_digest),
        ("candidates", before.candidates.digest, after.candidates.digest),
        ("judgements", before.qrels_digest, after.qrels_digest),
        ("convention", before.measurement.convention.digest, after.measurement.convention.digest),
        ("model revision", str(before.model.get("revision", "")), str(after.model.get("revision", ""))),
        ("strategy", str(before.model.get("strategy", "")), str(after.model.get("strategy", ""))),
        ("precision", str(before.model.get("precision", "")), str(after.model.get("precision", ""))),
        ("headline metric", before.measurement.headline, after.measurement.headline),
        *((name, before.versions.get(name, ""), after.versions.get(name, "")) for name in sorted(after.versions)),
    ):
        if old != new:
            found.append(f"{what} {_short(old)} became {_short(new)}")
    return found


def _short(text: str) -> str:
    return text[:19] if text.startswith("sha256:") else text[:40] or "none"


def _filed(file: Path) -> Result | None:
    """The result that is there, if it is one that nobody edited."""
    try:
        return read_result(file) if file.is_file() else None
    except BadInput:
        return None
