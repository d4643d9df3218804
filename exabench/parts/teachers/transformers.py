"""A language model in this process, run by transformers' generate: small models, any machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

from exabench.core.errors import BadInput
from exabench.core.nouns import Prompt, Reply
from exabench.hub.client import model_folder
from exabench.models.loading import check_vocabulary, device_of, dtype_of, loading, tokenizer_of, weights_of
from exabench.parts.teachers._chat import Asked, PromptReader, identity_of, model_config, seed_of

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
        self._reader = PromptReader(self._tokenizer, values, reasoning_tokens, limit, READ_AHEAD)
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
        """Batches of one temperature and one bound on answers, longest prompts first, within the token budget."""
        batch: list[Asked] = []
        # Sorted by what a call of generate shares, then by length: the first of a batch is its longest.
        for prompt, ids in sorted(asked, key=lambda one: (one[0].temperature, one[0].max_tokens, -len(one[1]))):
            if batch:
                first, longest = batch[0]
                is_alike = (first.temperature, first.max_tokens) == (prompt.temperature, prompt.max_tokens)
                tokens = (len(batch) + 1) * (len(longest) + first.max_tokens)
                if not is_alike or tokens > self._batch_tokens:
                    yield batch
                    batch = []
            batch.append((prompt, ids))
        if batch:
            yield batch

    def _answer(self, batch: Sequence[Asked]) -> Iterator[Reply]:
        """Replies to prompts of one temperature and bound; a batch that does not fit the memory is cut in two."""
        first, _ = batch[0]
        width = max(len(ids) for _, ids in batch)
        # [prompts, tokens]; a decoder continues from the end of its prompt, so it is padded on the left
        input_ids = torch.full((len(batch), width), self._padding)
        attention_mask = torch.zeros((len(batch), width), dtype=torch.long)
        for number, (_, ids) in enumerate(batch):
            place = slice(width - len(ids), width)
            if self._seq2seq:
                place = slice(len(ids))
            input_ids[number, place] = torch.tensor(ids)
            attention_mask[number, place] = 1
        is_sampled = first.temperature > 0
        sampling = {}
        if is_sampled:
            sampling = {"temperature": first.temperature, "top_k": self._top_k, "top_p": 1.0}
        rows = None
        with (
            contextlib.suppress(torch.OutOfMemoryError),
            torch.inference_mode(),
            torch.random.fork_rng(enabled=is_sampled),
        ):
            if is_sampled:
                torch.manual_seed(sum(seed_of(prompt, self._seed) for prompt, _ in batch))
            rows = self._model.generate(
                input_ids=input_ids.to(self._device),
                attention_mask=attention_mask.to(self._device),
                max_new_tokens=first.max_tokens,
                do_sample=is_sampled,
                **sampling,
            )
        if rows is None:  # the error is gone by now, or it would keep what generate had on the device
            if len(batch) == 1:
                raise BadInput("does not fit into the device's memory with the model", id=first.id)
            torch.cuda.empty_cache()  # or the halves meet the fragments of the whole
            half = len(batch) // 2
            yield from self._answer(batch[:half])
            yield from self._answer(batch[half:])
            return

        start = width  # behind the prompts
        if self._seq2seq:
            start = 1  # behind the decoder's start token
        for (prompt, ids), row in zip(batch, rows.tolist(), strict=True):
            tokens = []
            finish = "length"
            for token in row[start:]:
                tokens.append(token)
                if token in self._stops:
                    finish = "stop"
                    break
            text = self._tokenizer.decode(tokens, skip_special_tokens=True)
            yield Reply(prompt.id, text, finish, len(ids), len(tokens))
