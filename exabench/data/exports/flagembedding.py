"""FlagEmbedding's JSON Lines: a query with its positive and negative texts, and a teacher's scores of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.rows import Row
from exabench.data.exports import Exported
from exabench.data.exports._groups import ALL, ORDERED, LearningGroups
from exabench.data.exports._json_lines import write_json_lines


class FlagembeddingFormat:
    """A line for each query, as FlagEmbedding fine-tunes rerankers on (FlagOpen/FlagEmbedding, finetune/reranker).

    Keys: query, pos, neg; for orders and scores also pos_scores and neg_scores, which `--knowledge_distillation True`
    learns from. Its reader leaves `id` aside. A text is the passage's title and text with a space between.
    """

    families = ALL

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """The file `to`. Raises BadInput for a name that FlagEmbedding ignores."""
        if to.suffix not in (".json", ".jsonl"):
            raise BadInput("FlagEmbedding reads files whose names end in .jsonl or .json; choose such a name", file=to)
        found = LearningGroups(family, rows)
        count = write_json_lines(to, self._lines(family, found))
        return Exported(count, found.left_out)

    def _lines(self, family: str, found: LearningGroups) -> Iterator[dict[str, Any]]:
        for group in found:
            texts = [passage.flat() for passage in group.passages]
            split = group.positives
            line: dict[str, Any] = {
                "id": group.id,
                "query": group.query.text,
                "pos": texts[:split],
                "neg": texts[split:],
            }
            if family in ORDERED:
                line["pos_scores"] = group.labels[:split]
                line["neg_scores"] = group.labels[split:]
            yield line
