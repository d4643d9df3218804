"""BEIR's folder: corpus.jsonl, queries.jsonl, and the labels of the split in qrels/<split>.tsv."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.files import digest_of, replacing_folder
from exabench.core.rows import Row
from exabench.data.exports import Exported
from exabench.data.exports._groups import group_of
from exabench.measure.qrels import write_qrels


class BeirFormat:
    """Queries, passages and labels as a collection (beir-cellar/beir, GenericDataLoader).

    A relevant passage has the grade 1, a negative one 0. Orders and scores do not say what is relevant. Of the rows
    only ids, grades and the digests of texts are held in memory.
    """

    families = ("contrastive", "explanations")

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """The folder `to`, new or empty. Raises BadInput for an id with two texts, and a pair with two labels."""
        if to.exists() and not (to.is_dir() and not any(to.iterdir())):
            raise BadInput("is not empty, and a folder in BEIR's layout is written whole; name a new one", file=to)
        digests: dict[tuple[str, str], str] = {}  # of the query or passage of an id
        qrels: dict[str, dict[str, int]] = {}
        with replacing_folder(to) as folder:
            with open(folder / "queries.jsonl", "wb") as queries, open(folder / "corpus.jsonl", "wb") as corpus:
                for row in rows:
                    group = group_of(family, row)
                    query = {"_id": group.query.id, "text": group.query.text}
                    if _is_new(digests, "query", query, group.id):
                        queries.write(_line(query))
                    for place, passage in enumerate(group.passages):
                        record = {"_id": passage.id, "title": passage.title, "text": passage.text}
                        if _is_new(digests, "passage", record, group.id):
                            corpus.write(_line(record))
                        grade = int(place < group.positives)
                        known = qrels.setdefault(group.query.id, {}).setdefault(passage.id, grade)
                        if known != grade:
                            raise BadInput(f"has {passage.id!r} with another label than an earlier row", id=group.id)
            (folder / "qrels").mkdir()
            write_qrels(qrels, folder / "qrels" / f"{split}.tsv")
        return Exported(sum(len(judged) for judged in qrels.values()))


def _is_new(digests: dict[tuple[str, str], str], kind: str, record: dict[str, Any], row_id: str) -> bool:
    """Is this the first record of its id? Raises BadInput where it differs from the first."""
    key = (kind, record["_id"])
    digest = digest_of(record)
    if key not in digests:
        digests[key] = digest
        return True
    if digests[key] != digest:
        raise BadInput(f"has {kind} {record['_id']!r} with another text than an earlier row", id=row_id)
    return False


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"
