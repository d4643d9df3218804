"""The devices that a model runs on, and threads that take the one that is free first."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import torch

from exabench.models.loading import device_of
from exabench.models.values import INT8

_Loaded = TypeVar("_Loaded")
_Given = TypeVar("_Given")
_Got = TypeVar("_Got")


def devices_of(names: Sequence[str] = (), precision: str = "float32") -> tuple[str, ...]:
    """The devices asked for, else every GPU, else (and in int8, whose layers run only there) the CPU.

    A device that is named twice serves two threads: that is how one-threaded CPU work uses several cores.
    Raises BadInput for a device that is not there.
    """
    devices = tuple(names)
    if precision == INT8:  # `quantise` refuses any other device
        return devices or ("cpu",)
    if not devices:
        devices = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",)
    for device in devices:
        device_of(device)
    return devices


def on_device(model: Any, device: str) -> Any:
    """The model itself where it is on that device, else a replica there.

    A replica's tensors are copied once, straight to the device; those that were shared still are.
    """
    here = next(model.parameters()).device
    there = torch.device(device)
    if there.type == here.type and (there.index or 0) == (here.index or 0):
        return model
    memo = {}
    for tensor in chain(model.parameters(), model.buffers()):
        moved = tensor.detach().to(there)
        if isinstance(tensor, torch.nn.Parameter):
            moved = torch.nn.Parameter(moved, requires_grad=False)
        memo[id(tensor)] = moved
    return copy.deepcopy(model, memo).to(there)


class DevicePool(Generic[_Loaded]):
    """What is loaded on each device, for threads that take the one that is free first.

    `load(device)` is asked once for each distinct device.
    """

    def __init__(self, devices: Sequence[str], load: Callable[[str], _Loaded]) -> None:
        self._free = SimpleQueue[tuple[str, _Loaded]]()
        loaded: dict[str, _Loaded] = {}
        for device in devices:
            if device not in loaded:
                loaded[device] = load(device)
            # A GPU serves two threads: one copies its batch while the other computes.
            for _ in range(2 if device.startswith("cuda") else 1):
                self._free.put((device, loaded[device]))
        self._threads = self._free.qsize()

    @contextlib.contextmanager
    def free(self) -> Iterator[tuple[str, _Loaded]]:
        """The device that is free first, and what is loaded there; waits for one."""
        one = self._free.get()
        try:
            yield one
        finally:
            self._free.put(one)

    def map(self, function: Callable[[_Given], _Got], items: Iterable[_Given]) -> Iterator[_Got]:
        """`function` of each item, in the items' order, with a thread for each device that could be free."""
        if self._threads == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(function, items)
