"""`exabench parity` at the size of MiniLM: seconds until the cause of a fault is named, or a right server is passed.

The server computes in the same process, so these seconds hold its work, too. What is named is asserted, speeds are not.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

import exabench

sys.path.insert(0, str(Path(__file__).parents[1]))
from misserving import Plain, Scorer, documents, reference, squashed, swapped  # noqa: E402
from models import MINILM, minilm_folder  # noqa: E402
from rerank_servers import sigmoid  # noqa: E402
from test_parity import edited, pair  # noqa: E402

AIM = 120  # seconds for each, of two cores


def cross_encoder(folder: Path, labels: int = 1, spread: float = 1.0) -> Path:
    """The pretrained MiniLM with a head drawn by seed; `spread` is the deviation of the head's weights."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(minilm_folder(), num_labels=labels)
    torch.nn.init.normal_(model.classifier.weight, std=spread)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(minilm_folder()).save_pretrained(folder)
    return folder


def rounded(model: Path, folder: Path) -> Path:
    """A model with bfloat16's weights, computed in float32: few processors compute bfloat16, and others emulate it."""
    shutil.copytree(model, folder)
    held = load_file(model / "model.safetensors")
    save_file(
        {name: weight.bfloat16().float() for name, weight in held.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    return folder


def embedder(folder: Path) -> Path:
    """MiniLM as the bi-encoder that it is, with a prompt before each query."""
    shutil.copytree(minilm_folder(), folder)
    edited(folder / "config_sentence_transformers.json", prompts={"query": "query: ", "passage": "passage: "})
    return folder


def servers(work: Path) -> list[tuple[str, str | Path, Scorer]]:
    """What each does wrong (nothing: ""), the model that it should serve, and its scores."""
    bert = cross_encoder(work / "bert")
    loud = cross_encoder(work / "loud", spread=20.0)
    labels = cross_encoder(work / "labels", labels=2)
    prompted = embedder(work / "prompted")
    right = Plain(bert, "classifier", pair)
    return [
        ("", bert, right),
        ("", MINILM, reference(MINILM)),
        (
            "wrong template",
            bert,
            Plain(bert, "classifier", lambda query, passage: f"Query: {query} Document: {passage}"),
        ),
        ("sigmoid twice", bert, squashed(right, sigmoid, sigmoid)),
        ("sigmoid", loud, squashed(reference(loud), sigmoid)),
        ("label order inverted", labels, squashed(Plain(labels, "classifier", pair, rows=(0, 1)), sigmoid)),
        ("query and passage swapped", bert, swapped(right)),
        ("length limit", bert, Plain(bert, "classifier", pair, most=256)),
        ("wrong pooling", MINILM, reference(MINILM, pooling="cls")),
        ("prompt prefix missing", prompted, reference(prompted, query_prompt="")),
        ("batch dependence", bert, Plain(bert, "classifier", pair, masks=False)),
        ("quantisation", bert, Plain(rounded(bert, work / "rounded"), "classifier", pair)),
    ]


def main() -> int:
    """Every fault that an encoder can have, in about ten minutes."""
    with tempfile.TemporaryDirectory() as work:
        for cause, model, scorer in servers(Path(work)):
            with documents(scorer) as server:
                started = time.perf_counter()
                found = exabench.parity(str(model), endpoint=server.url)
            seconds = time.perf_counter() - started
            print(f"{cause or 'none':26} {seconds:5.0f} s (aim {AIM}), named: {found.cause or 'none'}", flush=True)
            assert found.cause == cause, found
    return 0


if __name__ == "__main__":
    sys.exit(main())
