"""A language model in this process, run by transformers' generate: small models, any machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

from exabench.core.errors import BadInput
from exabench.core.nouns import Prompt, Reply
from exabench.hub.client import model_folder
from exabench.models.loading import check_vocabulary, device_of, dtype_of, loading, tokenizer_of, weights_of
from exabench.parts.teachers._chat import identity_of, model_config, seed_of
from exabench.parts.teachers._prompt_reader import Asked, PromptReader, choice_reply

READ_AHEAD = 512
"""Prompts that are tokenised, sorted by length and cut into batches together: what memory holds."""


class Transformers:
    """A causal or encoder-decoder model in safetensors; no code of the model's own is run.

    Temperature 0 is greedy; above it the `top_k` likeliest tokens are sampled (0: all of them; no top-p, whatever
    generation_config.json says), with a seed that depends on the batch's prompts. A batch holds at most
    `batch_tokens` tokens, padding and the room for answers included. `precision` is a dtype of torch (empty: bfloat16
    on a GPU, float32 elsewhere), `device` a device of torch (empty: the GPU where there is one).
    `chat_template_kwargs` are further variables of the chat template (`enable_thinking`), and reasoning may take
    `reasoning_tokens` on top of an answer's own.
    """

    def __init__(
        self,
        model: str,
        revision: str = "",
        *,
        precision: str = "",
        device: str = "",
        batch_tokens: int = 16_384,
        top_k: int = 0,
        seed: int = 0,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        reasoning_tokens: int = 0,
        lock: str | Path | None = None,
    ) -> None:
        folder = model_folder(model, revision, lock)
        self._device = device_of(device)
        if not precision:
            precision = "bfloat16"
            if self._device.type == "cpu":
                precision = "float32"
        with loading(folder, "a language model"):
            config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
            self._seq2seq = config.is_encoder_decoder
            kind = AutoModelForSeq2SeqLM if self._seq2seq else AutoModelForCausalLM
            self._tokenizer = tokenizer_of(folder)
            self._model = weights_of(kind, folder, "a language model", dtype_of(precision))
            check_vocabulary(self._tokenizer, self._model, folder)
        self._model.to(self._device)

        # Of the folder's generation_config only the special tokens count: how answers are sampled is said here.
        own = self._model.generation_config
        end = own.eos_token_id
        if end is None:
            end = self._tokenizer.eos_token_id
        self._stops = end if isinstance(end, list) else [end]
        paddings = [own.pad_token_id, self._tokenizer.pad_token_id, *self._stops, 0]
        self._padding = next(token for token in paddings if token is not None)
        self._start = own.decoder_start_token_id  # of an encoder-decoder's answers
        if self._start is None:
            self._start = own.bos_token_id
        self._model.generation_config = GenerationConfig(
            bos_token_id=own.bos_token_id,
            eos_token_id=end,
            pad_token_id=self._padding,
            decoder_start_token_id=own.decoder_start_token_id,
        )
        limit = None  # an encoder-decoder's positions are relative (T5)
        if not self._seq2seq:
            text_config = self._model.config.get_text_config()
            limit = getattr(text_config, "max_position_embeddings", None)
        self._batch_tokens = batch_tokens
        self._top_k = top_k
        self._seed = seed
        self.parameters = self._model.num_parameters()
        self.config = model_config(folder.path)
        values = dict(chat_template_kwargs or {})
        self._reader = PromptReader(self._tokenizer, values, reasoning_tokens, limit, READ_AHEAD, encodes=self._seq2seq)
        unusual = {
            "top_k": top_k,
            "chat_template_kwargs": values,
            "reasoning_tokens": reasoning_tokens,
        }
        self.identity = identity_of("transformers", folder, precision, self._tokenizer, seed, **unusual)

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """Replies batch by batch. Prompts that do not fit the model raise PromptsRefused when all else is answered."""
        for asked in self._reader.read(prompts):
            for batch in self._batches(asked):
                yield from self._answer(batch)

    def _batches(self, asked: list[Asked]) -> Iterator[list[Asked]]:
        """Batches of what one call of generate shares, longest prompts first, within the token budget."""
        batch: list[Asked] = []
        # Sorted by what a call of generate shares, then by length: the first of a batch is its longest.
        for one in sorted(asked, key=lambda one: (_shared(one), -len(one.ids))):
            if batch:
                first = batch[0]
                tokens = (len(batch) + 1) * (len(first.ids) + len(first.beginning) + first.prompt.max_tokens)
                if _shared(first) != _shared(one) or tokens > self._batch_tokens:
                    yield batch
                    batch = []
            batch.append(one)
        if batch:
            yield batch

    def _answer(self, batch: Sequence[Asked]) -> Iterator[Reply]:
        """Replies to prompts that share what _shared says; a batch that does not fit the memory is cut in two."""
        first = batch[0].prompt
        width = max(len(one.ids) for one in batch)
        # [prompts, tokens]; a decoder continues from the end of its prompt, so it is padded on the left
        input_ids = torch.full((len(batch), width), self._padding)
        attention_mask = torch.zeros((len(batch), width), dtype=torch.long)
        for number, one in enumerate(batch):
            place = slice(width - len(one.ids), width)
            if self._seq2seq:
                place = slice(len(one.ids))
            input_ids[number, place] = torch.tensor(one.ids)
            attention_mask[number, place] = 1
        begun = {}
        if batch[0].beginning:
            decoder_ids = [self._start, *batch[0].beginning]
            begun["decoder_input_ids"] = torch.tensor([decoder_ids] * len(batch), device=self._device)
        is_sampled = first.temperature > 0
        sampling = {}
        if is_sampled:
            sampling = {"temperature": first.temperature, "top_k": self._top_k, "top_p": 1.0}
        written = None
        with (
            contextlib.suppress(torch.OutOfMemoryError),
            torch.inference_mode(),
            torch.random.fork_rng(enabled=is_sampled),
        ):
            if is_sampled:
                torch.manual_seed(sum(seed_of(one.prompt, self._seed) for one in batch))
            written = self._model.generate(
                input_ids=input_ids.to(self._device),
                attention_mask=attention_mask.to(self._device),
                max_new_tokens=first.max_tokens or 1,  # a choice is the first token
                do_sample=is_sampled,
                return_dict_in_generate=True,
                output_logits=bool(first.choices) or first.likelihood,
                **begun,
                **sampling,
            )
        if written is None:  # the error is gone by now, or it would keep what generate had on the device
            if len(batch) == 1:
                raise BadInput("does not fit into the device's memory with the model", id=first.id)
            torch.cuda.empty_cache()  # or the halves meet the fragments of the whole
            half = len(batch) // 2
            yield from self._answer(batch[:half])
            yield from self._answer(batch[half:])
        elif first.choices:
            yield from _chosen(batch, written.logits[0])
        else:
            yield from self._written(batch, written.sequences, width, written.logits)

    def _written(
        self, batch: Sequence[Asked], rows: Tensor, width: int, logits: Sequence[Tensor] | None
    ) -> Iterator[Reply]:
        """The replies that `rows` `[n, tokens]` hold behind prompts that are `width` tokens wide.

        `logits` are those of each token written, `[n, vocabulary]`, where they were asked for.
        """
        start = width
        if self._seq2seq:
            start = 1 + len(batch[0].beginning)  # behind the decoder's start token
        for number, (one, row) in enumerate(zip(batch, rows.tolist(), strict=True)):
            tokens: list[int] = []
            finish = "length"
            for token in row[start:]:
                tokens.append(token)
                if token in self._stops:
                    finish = "stop"
                    break
            text = self._tokenizer.decode(tokens, skip_special_tokens=True)
            log_prob = None
            if logits is not None and tokens:
                log_probs = [logits[place][number].float().log_softmax(-1)[token] for place, token in enumerate(tokens)]
                log_prob = float(torch.stack(log_probs).mean())
            yield Reply(one.prompt.id, text, finish, len(one.ids), len(tokens), log_prob)


def _shared(one: Asked) -> tuple[Any, ...]:
    """What prompts have in common that one call of generate answers; those with choices ask for no token."""
    return one.prompt.temperature, one.prompt.max_tokens, one.prompt.likelihood, one.beginning


def _chosen(batch: Sequence[Asked], logits: Tensor) -> Iterator[Reply]:
    """The log-probability of each choice, of the logits `[n, vocabulary]` of the next token."""
    log_probs = logits.float().log_softmax(-1)
    for one, row in zip(batch, log_probs, strict=True):
        values = row[list(one.choices)].tolist()
        yield choice_reply(one, dict(zip(one.prompt.choices, values, strict=True)))
