"""Studies: one question, put to many trainings, as one page of TOML; its cells are run, compared and reported.

A study's folder holds builds/<key>/ (of data), cells/<key>/ (a training, its runs and its results), lock.json and
report.json. Keys are fingerprints: cells that read the same data share its build, and what a page changes alone is
computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from exabench.bench.study_reports import StudyReport
from exabench.core.nouns import Progress, silent
from exabench.core.recipe import Recipe
from exabench.studies.page import Study as Study, read_study as read_study
from exabench.studies.reporting import report_study as report_study
from exabench.studies.running import run_study as run_study


def study(
    recipe: Recipe | str | Path,
    to: str | Path,
    *,
    overrides: Iterable[str] = (),
    data: str | Path | None = None,
    devices: Sequence[str] = (),
    engine: str = "local",
    workers: int = 0,
    board: str | Path | None = None,
    progress: Progress = silent,
) -> StudyReport:
    """Run every cell of a study that is not done yet in the folder `to`, and report on all.

    `recipe` is a study (of recipes/study, or a path), `data` the folder of test collections, `devices` where models are
    trained and run. `workers` (0: one for each GPU) take a cell each, with the `engine` "local" or "ray". With a
    `board`, the report is filed there, too. Stopped anywhere, the same call resumes. Raises UnknownName, BadInput,
    CannotWrite, OutsideFailed.
    """
    page = read_study(recipe, overrides)
    run_study(page, to, data=data, devices=devices, engine=engine, workers=workers, progress=progress)
    return report_study(page, to, board=board)
