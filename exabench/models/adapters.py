"""LoRA adapters next to the weights of their base model: merged into them whenever the model is loaded, never left out.

Hu et al. 2021 (arXiv 2106.09685); files as peft saves them. Settings are read by a table: what is not in it could draw
new weights, import a module or change the base model, and is refused.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, MissingExtra, printable
from exabench.core.files import read_json
from exabench.core.packages import pip_line
from exabench.hub.client import ADAPTER, ADAPTER_WEIGHTS

INSIDE = "base_model.model."
"""What peft writes before the name of each weight."""

Shape = tuple[int, ...]

HEADS = ("classifier", "score")
"""The layers that an adapter for classification brings whole, whatever its settings say."""

# Settings that go into the merge; they are those of peft.LoraConfig.
_READ = frozenset(
    "r lora_alpha target_modules exclude_modules modules_to_save bias fan_in_fan_out use_rslora use_dora lora_bias "
    "rank_pattern alpha_pattern layers_to_transform layers_pattern".split()
)
# Settings without a part in what a trained adapter computes; any other must be off.
_IGNORED = frozenset(
    "auto_mapping base_model_name_or_path ensure_weight_tying inference_mode init_lora_weights lora_dropout "
    "megatron_core peft_type peft_version qalora_group_size revision task_type".split()
)
_PART = re.compile(r"(.+)\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)(?:\.weight|\.bias)?")
_STARTS = (True, False, None, "gaussian", "orthogonal")  # others (pissa, olora, loftq, ...) change the base model


def has_adapter(folder: Path) -> bool:
    """Is there an adapter, or a part of one, in a model folder?"""
    return any((folder / name).exists() for name in (ADAPTER, ADAPTER_WEIGHTS))


def read_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What peft.LoraConfig is given for the adapter in a folder, and its tensors by their names in the file.

    Raises BadInput for an adapter that is not merged here.
    """
    from safetensors.torch import load_file

    for name, other in ((ADAPTER, ADAPTER_WEIGHTS), (ADAPTER_WEIGHTS, ADAPTER)):
        if not (folder / name).is_file():
            advice = "an adapter is both files (weights as safetensors, pickles are never loaded)"
            raise BadInput(f"has {other} without {name}; {advice}", file=folder)
    settings = check_adapter(read_json(folder / ADAPTER), folder / ADAPTER)
    return settings, dict(load_file(folder / ADAPTER_WEIGHTS))


def check_adapter(values: Any, file: str | Path | None = None) -> dict[str, Any]:
    """The settings of an adapter_config.json that go into the merge. Raises BadInput for an adapter of another kind."""
    if not isinstance(values, Mapping):
        raise BadInput("is not the description of an adapter", file=file)
    kind = values.get("peft_type")
    if kind != "LORA":
        raise BadInput(f"is an adapter of type {printable(str(kind))}; only LORA is merged here", file=file)
    start = values.get("init_lora_weights")
    if not any(start is one or start == one for one in _STARTS):
        what = f"init_lora_weights {printable(str(start))!r} changes the base model"
        raise BadInput(f"{what}: merge the adapter with peft and save the model", file=file)
    for name, value in values.items():
        if name not in _READ and name not in _IGNORED and value:
            what = f"says {printable(str(name))}, which is not merged here"
            raise BadInput(f"{what}: merge the adapter with peft and save the model", file=file)
    for name in ("r", "lora_alpha"):
        value = values.get(name, 8)
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise BadInput(f"{name} is a number above 0, not {printable(str(value))!r}", file=file)
    return {name: value for name, value in values.items() if name in _READ and value is not None}


def misfit(settings: Mapping[str, Any], added: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> str | None:
    """What is wrong with the tensors `added` by an adapter, for a model whose tensors have these `shapes`; or None.

    Each belongs to a weight of the model and has its sizes, is as low as the settings say, or is a head.
    """
    ranks = {settings.get("r", 8)}
    pattern = settings.get("rank_pattern")
    if isinstance(pattern, Mapping):
        ranks |= {rank for rank in pattern.values() if isinstance(rank, int)}
    # A model saved without its head has its names without the first word, and the other way round.
    known = {}
    for name, shape in shapes.items():
        known[name] = shape
        known.setdefault(name.partition(".")[2], shape)

    def shape_of(name: str) -> Shape | None:
        return known.get(name, known.get(name.partition(".")[2]))

    for name, shape in added.items():
        called = f"tensor {printable(name)!r}"
        if not name.startswith(INSIDE):
            return f"{called} is not of an adapter: its name does not begin with {INSIDE}"
        inner = name.removeprefix(INSIDE).replace(".base_layer.", ".")  # of a bias that learnt with its layer
        part = _PART.fullmatch(inner)
        if part is None:
            own = shape_of(inner)
            if own != shape and not inner.startswith(tuple(f"{head}." for head in HEADS)):
                return f"{called} of shape {list(shape)} is not in the model, or has another shape there"
            continue
        own = shape_of(f"{part[1]}.weight")  # a pair of matrices stands for a change of this weight
        if own is None:
            return f"{called} belongs to no weight of the model"
        allowed = {1, *own, *ranks}  # 1: the norms of DoRA
        if not set(shape) <= allowed or (part[2] != "magnitude_vector" and len(shape) > 1 and not ranks & set(shape)):
            return f"{called} of shape {list(shape)} does not fit a weight of shape {list(own)} at rank {sorted(ranks)}"
    return None


@contextlib.contextmanager
def without_adapter(folder: Path) -> Iterator[Path]:
    """A folder with links to the files of `folder` but for the adapter's, which transformers would load unasked."""
    with tempfile.TemporaryDirectory() as place:
        for file in folder.iterdir():
            if file.is_file() and file.name not in (ADAPTER, ADAPTER_WEIGHTS):
                (Path(place) / file.name).symlink_to(file.resolve())
        yield Path(place)


def labels_of(weights: Mapping[str, Any]) -> int | None:
    """The number of labels of the classification head among an adapter's tensors, None without one."""
    labels = None
    for name in sorted(weights):  # the last layer of RoBERTa's is out_proj, behind dense
        if name.endswith(".weight") and name.removeprefix(INSIDE).startswith(tuple(f"{head}." for head in HEADS)):
            labels = int(weights[name].shape[0])
    return labels


def merge_adapter(model: Any, folder: Path, weights: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """The model with the adapter's weights added to its own, of the same class as before.

    Raises BadInput where adapter and model do not fit, MissingExtra where peft is not installed.
    """
    try:
        from peft import LoraConfig, PeftModel, set_peft_model_state_dict
    except ImportError as error:
        raise MissingExtra(f"{folder}: merging its LoRA adapter needs a package: {pip_line('peft')}") from error

    # peft keeps a head whole for its own task types only, and the type that a file names need not be right.
    whole = list(settings.get("modules_to_save") or ())
    for head in HEADS:
        if head not in whole and any(name.startswith(f"{INSIDE}{head}.") for name in weights):
            whole.append(head)
    fitted = PeftModel(model, LoraConfig(**{**settings, "modules_to_save": whole or None}))
    # What peft drew at random and the file must fill; a layer that it leaves out would keep random numbers.
    wanted = {name for name in fitted.state_dict() if "lora_" in name}
    found: Any = set_peft_model_state_dict(fitted, dict(weights))
    lacking = sorted(wanted & set(found.missing_keys))
    if found.unexpected_keys:
        what = f"has {printable(found.unexpected_keys[0])}, a weight for a layer that its base model has not"
        raise BadInput(what, file=folder / ADAPTER_WEIGHTS)
    if lacking:
        raise BadInput(f"has no weights for {printable(lacking[0])}", file=folder / ADAPTER_WEIGHTS)
    return fitted.merge_and_unload()
