"""LoRA while it learns: low-rank changes of a model's linear layers, made by peft; saved as an adapter, or merged.

Hu et al. 2021 (arXiv 2106.09685). The weights of the model stay as they are, so that optimiser and checkpoints hold
only the adapter. How adapters are read is in adapters.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from exabench.core.errors import REASON, BadInput, MissingExtra, printable
from exabench.core.files import json_text, write
from exabench.core.packages import pip_line
from exabench.hub.client import ADAPTER, ADAPTER_WEIGHTS
from exabench.models.adapters import INSIDE

NAME = "default"
"""What peft calls the one adapter of a model."""

TASK_TYPES = {"classifier": "SEQ_CLS", "seq2seq": "SEQ_2_SEQ_LM", "decoder": "CAUSAL_LM"}
"""What peft calls the kinds of models (heads.KINDS) whose adapters can be read without their base model."""


class LowRank:
    """The adapter of a model that learns, whose layers are put into `model` in place.

    `rank` and `alpha` as in the paper (a change is scaled by alpha / rank), `dropout` of what goes into the adapter,
    `targets`: the ends of the names of the linear layers that get one, or "all-linear"; none: those that peft takes
    for this architecture. The layers of the model called `whole` learn all of their weights, as a new head must.
    Raises BadInput for targets that are not there or not linear, MissingExtra where peft is not installed.
    """

    def __init__(
        self,
        model: Any,
        *,
        rank: int,
        alpha: float,
        dropout: float,
        targets: Sequence[str] | str = (),
        whole: Sequence[str] = (),
    ) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
            from peft.tuners.lora import LoraLayer
        except ImportError as error:
            raise MissingExtra(f"training a LoRA adapter needs a package: {pip_line('peft')}") from error
        linear = set()
        for name, layer in model.named_modules():
            if type(layer) is nn.Linear:
                linear.add(name.rpartition(".")[2])
        advice = f"lora.targets names linear layers of the model: {', '.join(sorted(linear))}"
        self._config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=targets if isinstance(targets, str) else list(targets) or None,
            exclude_modules=list(whole) or None,
        )
        self._whole = list(whole)
        # Asked for before layers are replaced: afterwards it would be the adapter's.
        output = model.get_output_embeddings()
        try:
            inject_adapter_in_model(self._config, model, NAME)
        except ValueError as error:  # there are none, or of another type
            reason = printable(str(error).split("\n")[0], REASON)
            raise BadInput(f"LoRA does not fit this model ({reason}); {advice}") from error
        self._layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
        for name, layer in self._layers.items():
            # Of the output embedding single rows are read, and an input embedding may be the same tensor.
            if layer.base_layer is output or not isinstance(layer.base_layer, nn.Linear):
                raise BadInput(f"LoRA cannot learn {name}; {advice}")
            for part in (layer.lora_A[NAME], layer.lora_B[NAME]):
                part.float()  # moments of fewer digits would round most updates away
        for name in whole:
            model.get_submodule(name).requires_grad_(True)

    def merged(self, weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """All `weights` of a module whose part `prefix` is the model, with the changes added, by the names without."""
        found = {}
        for name, tensor in weights.items():
            if ".lora_" not in name:
                found[name.replace(".base_layer.", ".")] = tensor
        with torch.no_grad():
            for name, layer in self._layers.items():
                place = f"{prefix}{name}.weight"
                # In the precision of the weights that it is added to, as peft merges it.
                found[place] = found[place] + layer.get_delta_weight(NAME).to(found[place].dtype)
        return found

    def save(self, folder: Path, weights: Mapping[str, Tensor], *, kind: str, base: str, revision: str) -> None:
        """Write the adapter as peft does, its settings naming the base model; `weights` by their names in the model.

        `kind` is one of TASK_TYPES.
        """
        tensors = {}
        for name, tensor in weights.items():
            # In peft's files no weight has the name of its adapter, so that it can be loaded under another.
            tensors[INSIDE + name.replace(f".{NAME}.", ".")] = tensor.detach().contiguous()
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        settings = {
            **self._config.to_dict(),
            "base_model_name_or_path": base,
            "revision": revision,
            "task_type": TASK_TYPES[kind],
            # What was excluded learnt whole, and is among the modules that are saved.
            "exclude_modules": None,
            "modules_to_save": self._whole or None,
            "inference_mode": True,
        }
        if not isinstance(settings["target_modules"], str):
            settings["target_modules"] = sorted(settings["target_modules"])  # a set, whose order is another each time
        write(folder / ADAPTER, json_text(settings))
