"""Collections: where a task's queries, passages and judgements are read.

A collection is one file that holds one class of the file's name, built from `(task, data, lock)`; `there()` says
at no cost whether it could serve the task. To add a source, add its file and its name to ORDER.
"""

from exabench.tasks.collections._collection import COLLECTIONS, ORDER, Collection, FromCollection
from exabench.tasks.collections._judged import all_judgements, at_hand, benchmarks
from exabench.tasks.collections._open import checked_qrels, judgements_of, open_collection
from exabench.tasks.collections._texts import Passages, SelectedTexts, TextLine, queries_of, texts_of, triples_of

__all__ = [
    "COLLECTIONS",
    "ORDER",
    "Collection",
    "FromCollection",
    "Passages",
    "TextLine",
    "SelectedTexts",
    "all_judgements",
    "at_hand",
    "benchmarks",
    "checked_qrels",
    "judgements_of",
    "open_collection",
    "queries_of",
    "texts_of",
    "triples_of",
]
