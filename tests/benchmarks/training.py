"""Learning groups of 30, against sentence-transformers' RankNet and Lambda losses in the same process.

Prints ratios (theirs / ours in seconds and in CPU time, medians of paired rounds A B B A) of a whole optimiser step,
tokenising included, and the memory of a step beyond the loaded model's, each in a process of its own. Equal losses and
gradients are asserted, and the memory, which no load of the machine moves; speed is not. MiniLM with a new head,
float32, at most 256 tokens, on BM25's best of TREC-DL 2019 where EXABENCH_DATA has it, else the embedded collection.

Against version 0.1, which drew dropout masks and kept gradients of word vectors in cheaper ways on a CPU, a step of
torch's own costs 5 to 25 % more CPU time there (MiniLM, lists of 8 and of 30 passages, paired runs on a busy machine).
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from reranking import apart, minilm_cross_encoder
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.losses import LambdaLoss, RankNetLoss

from exabench.measure.runs import read_run
from exabench.parts.assembly import reranker
from exabench.parts.losses import LOSSES
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection
from exabench.training.distributed import Ranks
from exabench.training.gradients import Gradient
from exabench.training.groups import Group, GroupLoader
from exabench.training.loop import optimiser_of
from exabench.training.recipe import Steps
from exabench.training.start_model import prepare

GROUPS, PASSAGES, LENGTH, ROUNDS = 4, 30, 256, 2
FASTER, LEANER = 1.5, 1 / 3
THEIRS = {"ranknet": RankNetLoss, "lambda_ndcg": LambdaLoss}
MINI_BATCHES = {"its default": None, "16 pairs": 16}
LABELS = tuple(float(n) for n in range(PASSAGES, 0, -1))


def groups_of(count: int) -> list[Group]:
    """Queries with 30 passages each, whose order is to be learnt."""
    data = os.environ.get("EXABENCH_DATA", "")
    run = Path(data) / "trec-dl-2019" / "runs" / "bm25.trec"
    collection = open_collection(single_task("trec-dl-2019" if data and run.is_file() else "mini"), data or None)
    queries = {query.id: query for query in collection.queries()}
    passages = {passage.id: passage for passage in collection.passages()}
    if data and run.is_file():
        ranked = read_run(run)
        chosen = [(q, ranked.ranking(q)[:PASSAGES]) for q in ranked.query_ids if q in queries]
    else:
        chosen = [(q, [*passages][5 * n : 5 * n + PASSAGES]) for n, q in enumerate(queries)]
    return [Group(q, queries[q], tuple(passages[p] for p in ids), LABELS) for q, ids in chosen[:count]]


class Step:
    """A whole step, after the gradient that a class below takes."""

    def __call__(self) -> None:
        self.gradient()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self._optimiser.step()


class Ours(Step):
    """A step of this package."""

    def __init__(self, folder: Path, loss: str, groups: Sequence[Group], **steps: Any) -> None:
        made: Any = reranker("cross_encoder", model=str(folder), max_length=LENGTH, devices=("cpu",))
        learner, self._groups = made.learner(), groups
        self._loader = GroupLoader(learner, None, None, written=False, loaders=0)
        self.module = learner.module.train()
        plan = Steps(**steps)
        prepare(self.module, plan)
        self._gradient = Gradient(learner, LOSSES[loss](), plan, Ranks(), 0)
        self._optimiser = optimiser_of(plan, dict(self.module.named_parameters()))

    def gradient(self) -> float:
        return self._gradient(1, [self._loader.encode(group) for group in self._groups])


class Theirs(Step):
    """The same step as CrossEncoderTrainer takes it."""

    def __init__(self, folder: Path, loss: str, groups: Sequence[Group], mini_batch: int | None) -> None:
        self.module = CrossEncoder(str(folder), max_length=LENGTH, device="cpu").train()
        self._loss = THEIRS[loss](self.module, mini_batch_size=mini_batch)
        self._texts = [[g.query.text for g in groups], [[p.flat() for p in g.passages] for g in groups]]
        self._labels = [torch.tensor(g.labels) for g in groups]
        self._optimiser = optimiser_of(Steps(), dict(self.module.named_parameters()))

    def gradient(self) -> float:
        self._optimiser.zero_grad(set_to_none=True)
        value = self._loss(self._texts, self._labels)
        value.backward()
        return float(value.detach())


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and seconds of this process's own."""
    start, used = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - start, time.process_time() - used


def vector(module: Any) -> torch.Tensor:
    gradients = (torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters())
    return torch.cat([gradient.flatten() for gradient in gradients])


def equal(folder: Path, groups: Sequence[Group]) -> None:
    """Without dropout both take the same step; theirs is in binary logarithms."""
    for loss, unit in (("ranknet", torch.log(torch.tensor(2.0))), ("lambda_ndcg", torch.tensor(1.0))):
        ours, theirs = Ours(folder, loss, groups, dropout=False, gradients="cached"), Theirs(folder, loss, groups, 16)
        theirs.module.eval()
        value, expected = ours.gradient(), theirs.gradient() * float(unit)
        assert abs(value - expected) < 1e-4 * abs(expected), (loss, value, expected)
        found, wanted = vector(ours.module), vector(theirs.module) * unit
        assert float((found - wanted).norm()) < 1e-3 * float(wanted.norm()), loss


def speed(folder: Path, groups: Sequence[Group]) -> dict[str, float]:
    """Ratios of time by what they are measured against."""
    medians, pairs = {}, PASSAGES * len(groups)
    for loss in THEIRS:
        ours = Ours(folder, loss, groups)
        ours()
        for what, size in MINI_BATCHES.items():
            theirs = Theirs(folder, loss, groups, size)
            rounds = [[timed(action) for action in (theirs, ours, ours, theirs)] for _ in range(ROUNDS)]
            ratios = [[(a[i] + d[i]) / (b[i] + c[i]) for a, b, c, d in rounds] for i in (0, 1)]
            mine = statistics.median((b[0] + c[0]) / 2 for _, b, c, _ in rounds)
            medians[f"{loss}, {what}"] = statistics.median(ratios[0])
            print(
                f"{loss}, {pairs} pairs a step, mini-batches of {what}: ours {pairs / mine:.1f} pairs/s, "
                f"{statistics.median(ratios[0]):.2f} times theirs ({statistics.median(ratios[1]):.2f} in CPU time)"
            )
    return medians


def peak_of(folder: str, mode: str, count: int) -> float:
    """One step and its optimiser; how far the resident size rose above that of the loaded model, in MiB."""
    groups = groups_of(count)
    ours = mode in ("plain", "cached")
    step: Any = Ours(Path(folder), "ranknet", groups, gradients=mode) if ours else None
    step = step or Theirs(Path(folder), "ranknet", groups, MINI_BATCHES[mode])
    loaded = most_held()
    step()
    return (most_held() - loaded) / 1024


def most_held() -> int:
    """The largest resident size of this process so far, in KiB; getrusage would begin with that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def memory(folder: Path, count: int = 4) -> float:
    """Ours with cached gradients as a part of the least of theirs."""
    found = {}
    for mode in ("cached", "plain", *MINI_BATCHES):
        found[mode] = apart(peak_of, str(folder), mode, count)
        whose = "ours" if mode in ("cached", "plain") else "theirs"
        print(f"memory of a step over {count} groups, {whose}, {mode}: {found[mode]:.0f} MiB")
    return found["cached"] / min(found[mode] for mode in MINI_BATCHES)


def main() -> int:
    """Everything, in some minutes on two free cores."""
    with tempfile.TemporaryDirectory() as work:
        folder, groups = minilm_cross_encoder(Path(work) / "minilm"), groups_of(GROUPS)
        equal(folder, groups[:1])
        ratios, share = speed(folder, groups), memory(folder)
    print(f"load of the machine over the last minutes: {os.getloadavg()}")
    print(f"speed: {min(ratios.values()):.2f} to {max(ratios.values()):.2f} times theirs (aim {FASTER})")
    print(f"memory: {share:.2f} of theirs (aim {LEANER:.2f})")
    assert share <= LEANER
    return 0


if __name__ == "__main__":
    sys.exit(main())
