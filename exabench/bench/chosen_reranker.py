"""The reranker of a call: a model, a part of the shelf by its name, or an object of the user's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Progress, Qrels
from exabench.measure.interpolation import check_weight
from exabench.parts.assembly import check_part, check_values, reranker as reranker_of
from exabench.parts.own_rerankers import as_reranker, reranker_name
from exabench.parts.recognition import Recognised, check_given, choose_reranker
from exabench.parts.rerankers import RERANKERS, Reranker


class ChosenReranker:
    """What `evaluate` and `rerank` were given as reranker. Nothing is loaded before `make`, nor fetched from the Hub
    before `find`.

    A text is a model (a Hub id, a folder, `pypi:<package>`), which `part` loads or the part that its files call for;
    or the name of a part, or "auto", with its `options`. `interpolate` is the weight of its scores where they are mixed
    with the first stage's; a model that was fitted with one keeps its own unless another is given. Raises BadInput for
    what is neither, and for another weight than one above 0 and at most 1.
    """

    def __init__(
        self, given: Any, options: Mapping[str, Any], part: str = "", interpolate: float | None = None
    ) -> None:
        if interpolate is not None:
            check_weight(interpolate)
        self.interpolate = interpolate
        self._given = given
        self._options = dict(options)
        self._part = part
        self._made: Reranker | None = None
        self.found: Recognised | None = None  # of a reranker that is given by name or by model
        if isinstance(given, str):
            check_given(given, self._options)
            if given not in RERANKERS:  # the options of a part are checked with it
                check_values(self._options, part)
            # The model says more than the part that reads it: many models are read by monot5.
            self.label = label_of(str(self._options.get("model", given)))
        else:
            if options or part:
                raise BadInput(f"{', '.join(options) or 'part'} applies only to a reranker given by name or by model")
            self._made = as_reranker(given)
            self.label = label_of(reranker_name(self._made))

    def find(self) -> str:
        """Find the part that loads the model, and check its options. Returns what was chosen and why, in words.

        Raises BadInput, OutsideFailed.
        """
        if self._made is not None:
            return f"{self.label}: your own reranker"
        found = choose_reranker(self._given, self._options, self._part)
        check_part(RERANKERS, found.reranker, found.options)
        self.found = found
        if self.interpolate is None:
            self.interpolate = found.interpolate
        shown = ""
        for key, value in found.options.items():
            if key != "model":
                shown += f" {key}={value}"
        return f"{self.label}: {found.reranker}{shown} ({found.why})"

    @property
    def reads_judgements(self) -> bool:
        """Is it a part that is made of the judgements?"""
        return self.found is not None and RERANKERS[self.found.reranker].reads == "judgements"

    def make(self, qrels: Qrels, progress: Progress) -> Reranker:
        """The reranker, loaded once; one that reads judgements is made of these."""
        if self.found is None:
            assert self._made is not None, "what is given by name was found before"
            return self._made
        # A model is loaded once for all tasks; the oracle of one task knows nothing of the next.
        if self._made is None or self.reads_judgements:
            self._made = reranker_of(self.found.reranker, qrels=qrels, progress=progress, **self.found.options)
        return self._made


def label_of(model: str) -> str:
    """The name of a system in runs and results: a Hub id as it is, of a folder its last name, without spaces."""
    if Path(model).is_dir():
        model = os.path.basename(os.path.abspath(model))
    # Blanks end a column of a TREC run.
    return re.sub(r"\s+", "-", model.removeprefix("pypi:"))
