"""Recording of results: none without a line in the change log that says why its number is another one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from exabench.bench.ledger import Cell, Ledger, last_values, read_result
from exabench.bench.measurement import today
from exabench.core.errors import BadInput, CheckFailed
from exabench.core.nouns import BoardChange, Result, Run

SAME = 1e-9
"""Two numbers that are no further apart are one."""


class ResultRecorder:
    """Writes the results of a board, one after the other; whoever has one holds the board alone.

    The line of the change log comes before the result: a recorder that is killed between the two writes the result
    the next time, and no second line. `reason` stands in all lines instead of what follows from the results.
    """

    def __init__(self, ledger: Ledger, reason: str = "") -> None:
        self._ledger = ledger
        self._reason = reason
        self._last = last_values(ledger.changes())

    def record(self, result: Result, run: Run | None = None) -> Path:
        """File a result, and the run that it was made from where exabench made it.

        Raises CheckFailed for a number that changed though nothing that it is made of did.
        """
        ledger = self._ledger
        names = (result.submission, result.task, result.candidates.name)
        file = ledger.result_file(*names)
        filed = _filed(file)
        changes = self._changes(result, filed)
        if run is not None:
            ledger.add_run(*names, run)
        self._log(changes)
        if filed != result:
            ledger.add_result(result)
        return file

    def record_removed(self, slugs: Collection[str]) -> None:
        """Log the numbers of these submissions whose results are no longer there."""
        removed = []
        reason = self._reason or "its run or its candidates were taken away"
        for cell, value in self._last.items():
            slug, task, candidates, _ = cell
            if slug in slugs and value is not None and not self._ledger.result_file(slug, task, candidates).is_file():
                removed.append(BoardChange(today(), *cell, before=value, after=None, reason=reason))
        self._log(removed)

    def _log(self, changes: list[BoardChange]) -> None:
        self._ledger.add_changes(changes)
        for change in changes:
            self._last[change.submission, change.task, change.candidates, change.metric] = change.after

    def _changes(self, result: Result, filed: Result | None) -> list[BoardChange]:
        """The line that a result needs, or none where its number is the one in the log."""
        metric = result.measurement.headline
        cell = (result.submission, result.task, result.candidates.name, metric)
        before = self._last.get(cell)
        after = result[metric]
        if before is not None and abs(before - after) <= SAME:
            return []
        reason = self._reason or self._explain(cell, result, filed, before)
        return [BoardChange(today(), *cell, before=before, after=after, reason=reason)]

    def _explain(self, cell: Cell, result: Result, filed: Result | None, before: float | None) -> str:
        if before is None:
            return "was there before the change log began" if filed == result else "first result"
        if filed is None:
            return "made again; the result before it is not there to compare"
        differences = differing(filed, result)
        if differences:
            return "; ".join(differences)
        slug, task, candidates, metric = cell
        raise CheckFailed(
            f"{self._ledger.result_file(slug, task, candidates)}: {metric} would change from {before:.6f} to "
            f"{result[metric]:.6f} though run, candidates, judgements, convention, model and versions are the same; "
            "say why with --reason"
        )


def differing(before: Result, after: Result) -> list[str]:
    """Where two results of one cell were made of different things: in words, for the change log."""
    differences = []
    old_parts = _parts(before)
    for name, new in _parts(after).items():
        old = old_parts.get(name, "")
        if old != new:
            differences.append(f"{name} {_short(old)} became {_short(new)}")
    return differences


def _parts(result: Result) -> dict[str, str]:
    """What a result was made of, by name."""
    return {
        "run": result.run_digest,
        "candidates": result.candidates.digest,
        "judgements": result.qrels_digest,
        "convention": result.measurement.convention.digest,
        "model revision": str(result.model.get("revision", "")),
        "strategy": str(result.model.get("strategy", "")),
        "precision": str(result.model.get("precision", "")),
        "headline metric": result.measurement.headline,
        **dict(sorted(result.versions.items())),
    }


def _short(text: str) -> str:
    return text[:19] if text.startswith("sha256:") else text[:40] or "none"


def _filed(file: Path) -> Result | None:
    """The result that is there, if it is one that nobody edited."""
    try:
        return read_result(file) if file.is_file() else None
    except BadInput:
        return None
