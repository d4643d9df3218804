"""Llamas whose tokens see each other both ways: NVIDIA's rerankers, for which transformers has no class.

They are transformers' own Llama without its causal mask, unless config.json says is_causal; the head scores the mean of
the states. As in NVIDIA-NeMo/Automodel (components/models/llama_bidirectional/model.py), under its names of
classes and settings.
"""

from __future__ import annotations

import transformers


class LlamaBidirectionalConfig(transformers.LlamaConfig):  # type: ignore[misc]  # transformers is not typed for mypy here
    """`pooling` is how the states become one ("avg", "cls", "last"); logits are divided by `temperature`."""

    model_type = "llama_bidirec"
    is_causal: bool = False
    pooling: str = "avg"
    temperature: float = 1.0


class LlamaBidirectionalModel(transformers.LlamaModel):  # type: ignore[misc]
    """The Llama. The mask follows the config, and so do the layers, for inputs that need no mask."""

    config_class = LlamaBidirectionalConfig

    def __init__(self, config: LlamaBidirectionalConfig) -> None:
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn.is_causal = config.is_causal


class LlamaBidirectionalForSequenceClassification(transformers.LlamaForSequenceClassification):  # type: ignore[misc]
    """Its layer `score` reads what models/heads makes of the states."""

    config_class = LlamaBidirectionalConfig


def register() -> None:
    """Have transformers load them; as often as one likes."""
    transformers.AutoConfig.register(LlamaBidirectionalConfig.model_type, LlamaBidirectionalConfig, exist_ok=True)
    transformers.AutoModel.register(LlamaBidirectionalConfig, LlamaBidirectionalModel, exist_ok=True)
    transformers.AutoModelForSequenceClassification.register(
        LlamaBidirectionalConfig, LlamaBidirectionalForSequenceClassification, exist_ok=True
    )
