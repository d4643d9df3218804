"""Back-ends: an encoder that OpenVINO or ONNX Runtime computes on the CPU, in its torch model's place in a head.

What is converted is the model that transformers loaded, with all of its weights, each time that it is loaded. Padding,
batches and what is made of its output stay as they are, so scores differ from those of torch only by rounding.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exabench.core.errors import BadInput, MissingExtra, UnknownName
from exabench.core.packages import module_spec, pip_line
from exabench.models.values import MODEL_BACKENDS, TORCH

_PACKAGES = {"openvino": ("openvino",), "onnx": ("onnxruntime", "onnxscript", "onnx")}
_PRECISIONS = {"openvino": ("float32", "bfloat16"), "onnx": ("float32",)}
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# How far an output of a converted model may be from torch's, as a share of the largest.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}

Run = Callable[[list[np.ndarray]], np.ndarray]
"""A converted model: ids int64, mask bool and, where it reads them, types int64, each `[n, length]`, to its output."""


def installed_backends() -> list[str]:
    """The back-ends whose packages are installed, torch first."""
    return [name for name in MODEL_BACKENDS if not _missing_packages(name)]


def _missing_packages(backend: str) -> list[str]:
    return [module for module in _PACKAGES.get(backend, ()) if module_spec(module) is None]


def check_backend(backend: str, precision: str, devices: Sequence[str]) -> None:
    """Raises UnknownName for no back-end, BadInput for a precision or a device that it does not have, MissingExtra."""
    if backend not in MODEL_BACKENDS:
        raise UnknownName("backend", backend, MODEL_BACKENDS)
    if backend == TORCH:
        return
    known = _PRECISIONS[backend]
    if precision not in known:
        raise BadInput(f"backend {backend} computes in {' or '.join(known)}, not in {precision}; use backend {TORCH}")
    for device in devices:
        if torch.device(device).type != "cpu":
            raise BadInput(f"backend {backend} runs on the CPU, not on {device}; use backend {TORCH} there")
    missing = _missing_packages(backend)
    if missing:
        raise MissingExtra(f"backend {backend} needs a package ({missing[0]}): {pip_line(missing[0])}")


class ConvertedModel:
    """A model of transformers that a back-end computes; a call has the arguments of the model's own, and no gradients.

    Its only output has the name `output`, "logits" or "last_hidden_state". `config` is that of the model.
    """

    def __init__(self, config: Any, output: str, run: Run) -> None:
        self.config = config
        self._output = output
        self._run = run

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        """The output, in float32, as an attribute of its name."""
        inputs = [input_ids.numpy(), attention_mask.numpy()]
        if token_type_ids is not None:
            inputs.append(token_type_ids.numpy())
        return SimpleNamespace(**{self._output: torch.from_numpy(self._run(inputs))})


def convert(model: Any, backend: str, *, output: str, types: bool, precision: str, workers: int) -> ConvertedModel:
    """An encoder of transformers, in float32 on the CPU, as `backend` computes it in `precision`.

    `types`: does it read token types? It runs in as many threads as torch has, in each of `workers` that call it at a
    time. Raises BadInput where the CPU does not have the precision, and where outputs are not those of torch; whatever
    a library raises of a model that it cannot convert.
    """
    forward = _Forward(model, output).eval()
    example = _example(2, 7, model.config.vocab_size, types)
    threads = torch.get_num_threads()
    with _quiet():
        if backend == "onnx":
            run = _onnx(forward, example, threads)
        else:
            run = _openvino(forward, example, threads, precision, workers)
    converted = ConvertedModel(model.config, output, run)
    # Sizes other than the example's: a conversion may have taken one of them for a constant.
    ids, mask, *rest = _example(5, 40, model.config.vocab_size, types)
    with torch.inference_mode():
        wanted = forward(ids, mask, *rest)
    found = getattr(converted(ids, mask, *rest), output)
    if wanted.ndim == 3:  # states: those of padding are read by no one
        wanted = wanted[mask]
        found = found[mask]
    apart = float((found - wanted).abs().max() / max(1.0, float(wanted.abs().max())))
    if not apart <= _TOLERANCE[precision]:
        kind = model.config.model_type
        wrong = f"backend {backend} computes this {kind} otherwise than torch (outputs differ by {apart:.2g})"
        raise BadInput(f"{wrong}; use backend {TORCH}")
    return converted


class _Forward(nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """What is converted: the inputs in their order, and the one output that is read."""

    def __init__(self, model: Any, output: str) -> None:
        super().__init__()
        self.model = model
        self._output = output

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Any:
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            features["token_type_ids"] = token_type_ids
        return getattr(self.model(**features), self._output)


def _example(count: int, length: int, vocabulary: int, types: bool) -> tuple[Tensor, ...]:
    """Ids, mask and, where they are read, types of `count` inputs; the first has `length` tokens, others have fewer."""
    ids = (torch.arange(count * length).reshape(count, length) * 7 + 11) % vocabulary
    lengths = length - torch.arange(count)[:, None] * (length // count)
    places = torch.arange(length)[None, :]
    mask = places < lengths
    if not types:
        return ids, mask
    second = (places >= lengths // 2) & mask
    return ids, mask, second.long()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Have the exporter of torch log errors alone: it warns of packages that no encoder needs."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _openvino(forward: nn.Module, example: tuple[Tensor, ...], threads: int, precision: str, workers: int) -> Run:
    """The model as OpenVINO computes it; every thread that calls it has a request of its own, which waits for none."""
    # It would report every import and conversion to its makers. Without this package it has a stub in its place.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    core = openvino.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BadInput("this CPU has no bfloat16 (avx512_bf16 or amx_bf16 in /proc/cpuinfo); use precision float32")
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],  # else bfloat16 wherever the CPU has it
        "INFERENCE_NUM_THREADS": threads * workers,
        "NUM_STREAMS": workers,
        "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same core
    }
    compiled = core.compile_model(openvino.convert_model(forward, example_input=example), "CPU", settings)
    local = threading.local()

    def run(inputs: list[np.ndarray]) -> np.ndarray:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        found: np.ndarray = local.request.infer(inputs)[0]
        return found

    return run


def _onnx(forward: nn.Module, example: tuple[Tensor, ...], threads: int) -> Run:
    """The model as ONNX Runtime computes it, from the graph that torch exports."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3  # errors alone
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    names = ("input_ids", "attention_mask", "token_type_ids")[: len(example)]
    shapes = {name: sizes for name in names}
    with tempfile.TemporaryDirectory(prefix="exabench-") as folder:
        file = str(Path(folder) / "model.onnx")
        torch.onnx.export(forward, example, file, input_names=names, dynamic_shapes=shapes, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])

    def run(inputs: list[np.ndarray]) -> np.ndarray:
        [found] = session.run(None, dict(zip(names, inputs, strict=True)))
        return np.asarray(found)

    return run
