"""Parquet for the CrossEncoderTrainer of sentence-transformers: labelled pairs, or labelled lists of passages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.core.files import replacing
from exabench.core.rows import Row
from exabench.data.exports import Exported
from exabench.data.exports._groups import ALL, group_of

_ROWS_PER_GROUP = 1_000  # held at once: some 20 MB of the longest lists
_PAIRS = pa.schema({"query": pa.string(), "passage": pa.string(), "label": pa.int64()})
_LISTS = pa.schema({"query": pa.string(), "docs": pa.list_(pa.string()), "labels": pa.list_(pa.float64())})


class SentenceTransformersFormat:
    """The columns that its losses take, and no other: every column without a label is an input to them.

    Pairs (query, passage, label) of `explanations` are for BinaryCrossEntropyLoss, lists (query, docs, labels) of all
    other families for LambdaLoss, ListNetLoss, RankNetLoss and their like (UKPLab/sentence-transformers,
    docs/cross_encoder/loss_overview.md). Labels are 1 and 0, or the numbers of an order or of scores. A text is the
    passage's title and text with a space between.
    """

    families = ALL

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """The file `to`: `load_dataset("parquet", data_files=...)` reads it."""
        kinds = _LISTS
        examples = self._lists(family, rows)
        if family == "explanations":
            kinds = _PAIRS
            examples = self._pairs(family, rows)
        count = 0
        with (
            replacing(to) as file,
            pq.ParquetWriter(file, kinds, version="2.6", compression="zstd", compression_level=3) as writer,
        ):
            while held := list(islice(examples, _ROWS_PER_GROUP)):
                writer.write_table(pa.Table.from_pylist(held, schema=kinds))
                count += len(held)
        return Exported(count)

    def _pairs(self, family: str, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
        for row in rows:
            group = group_of(family, row)
            [passage] = group.passages
            yield {"query": group.query.text, "passage": passage.flat(), "label": group.positives}

    def _lists(self, family: str, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
        for row in rows:
            group = group_of(family, row)
            texts = [passage.flat() for passage in group.passages]
            yield {"query": group.query.text, "docs": texts, "labels": group.labels}
