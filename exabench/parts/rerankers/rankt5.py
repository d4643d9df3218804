"""RankT5: a T5 whose score is one number, an extra token's logit or one dense layer over its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from exabench.core.files import read_json
from exabench.hub.client import model_folder
from exabench.models.answers import answer_ids, check_strategy, narrow_to_answers
from exabench.models.families import usual_family
from exabench.models.heads import Options, load
from exabench.models.pointwise import Pointwise
from exabench.models.templates import text_template

TYPE = "cross-encoder"
LEARNS = "pairs"


class RankT5(Pointwise):
    """Zhuang et al. 2023: the logit of <extra_id_10> at the decoder's first step, or encoder-only.

    A folder whose config.json names T5EncoderModel as architecture is the encoder-only kind: its first token's state
    goes through `dense.weight` `[1, width]` (and `dense.bias`), which the safetensors hold next to the encoder.
    """

    def __init__(
        self,
        model: str,
        *,
        family: str = "",
        strategy: str = "",
        template: str = "",
        answers: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> None:
        usual = usual_family("rankt5", model, family)
        asked = usual.asked(template=template, answers=answers, strategy=strategy)
        folder = model_folder(model, options.get("revision", ""), options.get("lock"))
        architectures = read_json(folder.path / "config.json").get("architectures") or ()
        is_encoder = any("EncoderModel" in str(name) for name in architectures)
        loaded = load(model, "encoder" if is_encoder else "seq2seq", **options)
        columns: tuple[int, ...] = (0,)
        if is_encoder:
            check_strategy(asked.strategy, 1, rows=("answers",))
        else:
            ids = answer_ids(loaded.tokenizer, asked.answers)
            loaded, columns = narrow_to_answers(loaded, asked.strategy, ids)
        asking = text_template(asked.template, loaded.tokenizer)
        super().__init__(loaded, asking, asked.strategy, columns, **options)
