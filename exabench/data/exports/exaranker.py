"""ExaRanker's TSV: label, input and output, as its authors' training code reads them."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable
from pathlib import Path

from exabench.core.files import replacing
from exabench.core.rows import Row
from exabench.data.exaranker_format import COLUMNS
from exabench.data.exports import Exported
from exabench.data.exports._groups import fields_of


class ExarankerFormat:
    """A line for each pair (unicamp-dl/ExaRanker, ds/): what the model reads, and what it learns to write."""

    families = ("explanations",)

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """The file `to`, with the names of the columns in its first line."""
        count = 0
        with replacing(to) as stream:
            table = csv.writer(codecs.getwriter("utf-8")(stream), delimiter="\t")
            table.writerow(COLUMNS)
            for row in rows:
                relevant, text, target = fields_of(row, "relevant", "input", "target")
                # The labels are 1 and 0, as in the authors' file.
                table.writerow((int(bool(relevant)), text, target))
                count += 1
        return Exported(count)
