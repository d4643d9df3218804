"""Ranks: the processes that fit one model together, each on its share of every step's groups.

torchrun and accelerate launch start them. Each holds the whole model and its gradients are summed once a step; or,
sharded, each holds a slice of every weight, gradient and moment (FSDP: Zhao et al. 2023), and layers are gathered when
they are computed. A rank's loss is already divided by the groups of all, so sums are the one large batch's.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from exabench.core.errors import BadInput, OutsideFailed

TIMEOUT = "EXABENCH_RANK_TIMEOUT"
"""The seconds (600 where it is not set) that ranks wait for one another before all of them end."""

_GRACE = 2.0  # seconds for the rank that failed first to say why, before the others leave


class Ranks:
    """This process among those that were started together, or a single one. `device` is its own GPU, or the CPU.

    Raises BadInput where EXABENCH_RANK_TIMEOUT is not a number of seconds.
    """

    def __init__(self) -> None:
        from accelerate import PartialState

        given = os.environ.get(TIMEOUT, "600")
        try:
            self._patience = float(given)
        except ValueError:
            self._patience = 0.0
        if not 0 < self._patience < 1e6:
            raise BadInput(f"{TIMEOUT} must be a number of seconds above 0, not {given!r}")
        asked_for_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
        launched = "LOCAL_RANK" in os.environ  # without a GPU accelerate would leave each rank alone
        state = PartialState(
            cpu=asked_for_cpu or (launched and not torch.cuda.is_available()),
            timeout=timedelta(seconds=self._patience),
        )
        self.rank = state.process_index
        self.count = state.num_processes
        self.first = self.rank == 0
        self.device = str(state.device)  # as torch names it
        self.sharded = False
        self.first_rank_first = state.main_process_first  # a context: the first rank goes through it before the others
        self.wait_for_all = state.wait_for_everyone

    # -- the model -----------------------------------------------------------------------------------------

    def shard(self, module: nn.Module) -> None:
        """Split the module's weights over the ranks, in place; a single rank keeps them whole.

        A unit that is gathered at once is each layer of a stack (BERT, T5 and Llama hold theirs in a ModuleList), and
        the module itself with all that is left: so its `forward` may call parts of the model in any way, as long as
        it calls whole layers.
        """
        if self.count == 1:
            return
        # Here, and not at the top: most trainings are of one rank, and need none of it.
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self.sharded = True
        mesh = init_device_mesh(torch.device(self.device).type, (self.count,))
        for unit in [*_layers(module), module]:  # the whole last: it takes what no layer has taken
            fully_shard(unit, mesh=mesh)
            unit.set_gradient_divide_factor(1.0)  # a sum, as without shards, and no mean
            unit.set_force_sum_reduction_for_comms(True)

    def add_gradients(self, module: nn.Module) -> None:
        """Sum every parameter's gradient over the ranks; where no rank has one, none is made."""
        if self.count == 1 or self.sharded:
            return
        # An optimiser makes no moments for a parameter without gradient, and must not begin to on several ranks.
        learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
        holders = torch.tensor([float(parameter.grad is not None) for parameter in learnt], device=self.device)
        dist.all_reduce(holders)
        for parameter, count in zip(learnt, holders.tolist(), strict=True):
            if count == 0:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def clip(self, parameters: Iterable[Tensor], most: float) -> float:
        """Scale all gradients together down to a norm of `most`, and return the norm that they had."""
        norm = nn.utils.clip_grad_norm_(parameters, most)
        return float(norm.full_tensor() if self.sharded else norm)

    def gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights or moments in full; where they are sharded, on the CPU of the first rank and empty on the others.

        Names of one object (tied weights) stay so. All ranks must call it, with the same names.
        """
        found = {}
        for each in tensors.values():
            if id(each) not in found:
                full = each.detach()
                if hasattr(full, "full_tensor"):
                    full = full.full_tensor()
                    full = full.cpu() if self.first else full.new_empty(0)
                found[id(each)] = full
        return {name: found[id(each)] for name, each in tensors.items()}

    def local_part(self, whole: Tensor, like: Tensor) -> Tensor:
        """This rank's slice of a tensor that goes with the parameter `like`; all of it where nothing is sharded."""
        if not self.sharded or whole.shape != like.shape:  # an optimiser's count of steps is a scalar on every rank
            return whole
        from torch.distributed.tensor import distribute_tensor

        on_device = whole.to(like.device)
        return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)

    # -- what ranks tell one another -----------------------------------------------------------------------

    def reduce(self, value: float, operation: Any = dist.ReduceOp.SUM) -> float:
        """The sum of a number over the ranks, or what another operation of torch makes of all of them."""
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, operation)
        return float(tensor)

    # -- the end -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """An error on this rank ends all: the rank that fails first raises it, the others leave silently.

        One that was killed cannot say anything, and one that hangs is waited for no longer than EXABENCH_RANK_TIMEOUT:
        then the first that misses it raises OutsideFailed. Leaving is SystemExit with the error's exit code.
        """
        try:
            yield
        except BaseException as error:
            if self.count == 1:
                raise
            try:
                store = dist.distributed_c10d._get_default_store()
                fails_first = store.add("exabench/failed", 1) == 1
            except RuntimeError:  # the store went with the rank, or the launcher, that held it: no one else can tell
                fails_first = True
            if not fails_first:
                time.sleep(_GRACE)  # torchrun ends all ranks when one has left, so the message comes first
                raise SystemExit(getattr(error, "exit_code", 1)) from error
            # A message between ranks that failed; gloo has no type of its own for that.
            is_gloo = isinstance(error, RuntimeError) and "gloo" in str(error).lower()
            if not is_gloo and not isinstance(error, dist.DistError):
                raise
            raise OutsideFailed(
                f"rank {self.rank} of {self.count} lost another rank, which was killed or silent for "
                f"{self._patience:g} s; run again to resume from the last checkpoint ({TIMEOUT} sets the seconds)"
            ) from error


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model in their order: the members of each stack in it."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child  # not searched any further: a layer of T5 keeps its own parts in such a list
        else:
            yield from _layers(child)
