"""Ranks: the processes that fit one model together, each on its share of every step's groups.

torchrun and accelerate launch start them. Each holds the whole model and its gradients are summed once a step; or,
sharded, each holds a slice of every weight, gradient and moment (FSDP: Zhao et al. 2023), and layers are gathered when
they are computed. A rank's loss is already divided by the groups of all, so sums are the one large batch's.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import groupby
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from exabench.errors import BadInput, OutsideFailed

PATIENCE = "EXABENCH_RANK_TIMEOUT"
"""The seconds (600 where it is not set) that ranks wait for one another before all of them end."""

_BUCKET = 2**26  # numbers that travel in one message
_GRACE = 2.0  # seconds in which the rank that failed first says why, before the others leave


class Ranks:
    """This process among those that were started together; alone where nobody did. `device` is its own GPU, or the CPU.

    Raises BadInput where EXABENCH_RANK_TIMEOUT is no number of seconds.
    """

    def __init__(self) -> None:
        from accelerate import PartialState

        asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
        cpu = asked or ("LOCAL_RANK" in os.environ and not torch.cuda.is_available())  # else it leaves each rank alone
        self._patience = _seconds()
        self._state: Any = PartialState(cpu=cpu, timeout=timedelta(seconds=self._patience))
        self.rank, self.count = int(self._state.process_index), int(self._state.num_processes)
        self.first, self.sharded = self.rank == 0, False

    @property
    def device(self) -> str:
        """This rank's device, as torch names it."""
        return str(self._state.device)

    # -- the model -----------------------------------------------------------------------------------------

    def wrapped(self, module: nn.Module, sharded: bool = False) -> nn.Module:
        """The module as it is called; with `sharded` its weights are cut up over the ranks, where it lies.

        A unit that is gathered at once is each layer of a stack (BERT, T5 and Llama hold theirs in a ModuleList), and
        the module itself with all that is left: so its `forward` may call parts of the model in any way, as long as
        it calls whole layers.
        """
        self.sharded = sharded and self.count > 1
        if self.sharded:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(torch.device(self.device).type, (self.count,))
            units: list[Any] = [*_layers(module), module]
            for unit in units:
                fully_shard(unit, mesh=mesh)
                unit.set_gradient_divide_factor(1.0)  # a sum, as without shards, and no mean
                unit.set_force_sum_reduction_for_comms(True)
        return module

    def add_gradients(self, module: nn.Module) -> None:
        """Sum every parameter's gradient over the ranks; where no rank has one, none is made."""
        if self.count == 1 or self.sharded:
            return
        for some in _buckets(parameter for parameter in module.parameters() if parameter.requires_grad):
            rows = [torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1) for p in some]
            there = rows[0].new_tensor([p.grad is not None for p in some])
            flat = torch.cat([*rows, there])
            dist.all_reduce(flat)
            *rows, there = flat.split([*(row.numel() for row in rows), len(some)])
            for parameter, row, count in zip(some, rows, there.tolist(), strict=True):
                parameter.grad = row.view_as(parameter) if count else None

    def clipped(self, parameters: Sequence[Tensor], most: float) -> float:
        """The norm of all gradients together, which are then scaled down to `most` where it is more."""
        norm: Any = nn.utils.clip_grad_norm_(parameters, most)
        return float(norm.full_tensor() if self.sharded else norm)

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights or moments in full; where they are sharded, on the CPU of the first rank and empty on the others.

        Names of one object (tied weights) stay so. All ranks must call it, with the same names.
        """
        found: dict[int, Tensor] = {}
        for each in tensors.values():
            if id(each) not in found:
                full: Any = each.detach()
                if hasattr(full, "full_tensor"):
                    full = full.full_tensor()
                    full = full.cpu() if self.first else full.new_empty(0)
                found[id(each)] = full
        return {name: found[id(each)] for name, each in tensors.items()}

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        """What this rank holds of a tensor that goes with the parameter `like`; all of it where nothing is sharded."""
        if not self.sharded or whole.shape != like.shape:
            return whole
        from torch.distributed.tensor import distribute_tensor

        laid_out: Any = like
        made: Tensor = distribute_tensor(
            whole.to(like.device), laid_out.device_mesh, laid_out.placements, src_data_rank=None
        )
        return made

    def load(self, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Put whole weights into the module."""
        held = module.state_dict()
        module.load_state_dict({name: self.part(weight, held[name]) for name, weight in weights.items()})

    # -- what ranks tell one another -----------------------------------------------------------------------

    def sum(self, value: float) -> float:
        """The sum of a number over the ranks."""
        return self._reduced(value, dist.ReduceOp.SUM)

    def any(self, value: bool) -> bool:
        """Whether it is so on some rank."""
        return bool(self._reduced(value, dist.ReduceOp.MAX))

    def most(self, value: int) -> int:
        """The forwards that this rank must go through: its own, or sharded, as many as any rank has."""
        return int(self._reduced(value, dist.ReduceOp.MAX)) if self.sharded else value

    def first_does(self) -> AbstractContextManager[Any]:
        """The first rank goes through a block alone, the others after it."""
        made: AbstractContextManager[Any] = self._state.main_process_first()
        return made

    def wait(self) -> None:
        """Until all ranks are here."""
        self._state.wait_for_everyone()

    def _reduced(self, value: float, how: Any) -> float:
        if self.count == 1:
            return value
        tensor = torch.tensor(float(value), dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, how)
        return float(tensor)

    # -- the end -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What ends this rank ends all: the rank that fails first raises why, the others leave without a word.

        One that was killed cannot say anything, and one that hangs is waited for no longer than EXABENCH_RANK_TIMEOUT:
        then the first that misses it raises OutsideFailed. Leaving is SystemExit with the error's exit code.
        """
        try:
            yield
        except BaseException as error:
            if self.count == 1:
                raise
            if not self._fails_first():
                time.sleep(_GRACE)  # torchrun ends all ranks when one has left, so the word comes first
                raise SystemExit(getattr(error, "exit_code", 1)) from error
            if _lost(error):
                what = f"rank {self.rank} of {self.count} lost another one, which was killed or said nothing for"
                advice = f"run again to go on from the last checkpoint ({PATIENCE} sets the seconds)"
                raise OutsideFailed(f"{what} {self._patience:g} s; {advice}") from error
            raise

    def _fails_first(self) -> bool:
        """Whether no other rank has failed before; also where nobody is left who could tell."""
        try:
            store: Any = dist.distributed_c10d._get_default_store()
            return bool(store.add("exabench/failed", 1) == 1)
        except RuntimeError:  # the store went with the rank, or the launcher, that held it
            return True


def _seconds() -> float:
    told = os.environ.get(PATIENCE, "600")
    try:
        seconds = float(told)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise BadInput(f"{PATIENCE} must be a number of seconds above 0, not {told!r}")
    return seconds


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of every stack in a model, of nested stacks those of the outermost."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _layers(child)


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one type, as many at a time as one message takes."""
    for _, same in groupby(sorted(parameters, key=lambda p: str(p.dtype)), key=lambda p: p.dtype):
        some: list[nn.Parameter] = []
        for parameter in same:
            if some and sum(p.numel() for p in some) + parameter.numel() > _BUCKET:
                yield some
                some = []
            some.append(parameter)
        yield some


def _lost(error: BaseException) -> bool:
    """Whether it is a message between ranks that failed; gloo has no type of its own for that."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
