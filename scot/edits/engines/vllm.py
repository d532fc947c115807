"""vLLM in this process: its own scheduler batches all callers, and the constant part of the prompt is computed once."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scot.edits.concurrency import gather_or_cancel
from scot.edits.engines.base import BEFORE_TEXTS, Completion, Likelihood, Sampling
from scot.edits.engines.config import EngineConfig, model_id
from scot.edits.engines.likelihoods import first_of_text
from scot.edits.prompt import Message
from scot.errors import ChatRefused, InvalidInput, Unavailable
from scot.signals import stderr_stands_in

_RAISED = re.compile(r"[\w.]*(Error|Exception): .")
_CPU_BATCH = 8_192  # tokens that are read at once on a CPU


class VllmEngine:
    """vLLM's asynchronous engine with structured output by JSON schema and prefix caching.

    Loading takes from a minute up. Cancelling ``complete`` aborts the sequence.

    Raises:
        InvalidInput: vLLM is not installed, or the model cannot be loaded.
    """

    def __init__(self, config: EngineConfig) -> None:
        try:
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise InvalidInput("the vllm engine needs vLLM: pip install vllm==0.32.0") from error
        self.id = model_id(config)
        arguments = AsyncEngineArgs(
            model=config.model,
            max_model_len=config.max_model_len,
            max_num_seqs=config.concurrency,
            gpu_memory_utilization=config.gpu_memory_utilization,
            tensor_parallel_size=config.tensor_parallel_size,
            enable_prefix_caching=True,
            enable_log_requests=False,
            **_on_cpu(config),
        )
        with _written() as written:
            try:
                self._engine = AsyncLLM.from_engine_args(arguments)
            except Exception as error:
                raise InvalidInput(f"vLLM cannot load {config.model!r}: {_cause(error, written())}") from error
        self._numbers = itertools.count()
        self._most = config.max_model_len

    async def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], sampling: Sampling) -> Completion:
        """See :class:`scot.edits.engines.base.TextEngine`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        tokens = self._tokens(messages)
        if len(tokens) + sampling.max_tokens > self._most:
            raise ChatRefused(f"{len(tokens)} tokens and room for an answer do not fit max_model_len {self._most}")
        parameters = SamplingParams(
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            structured_outputs=StructuredOutputsParams(json=json.dumps(schema), disable_any_whitespace=True),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        final = await self._generate(tokens, parameters)
        answer = final.outputs[0]
        return Completion(answer.text, len(tokens), len(answer.token_ids), cut_off=answer.finish_reason == "length")

    async def likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        """See :class:`scot.edits.engines.base.Ranker`; all texts run concurrently."""
        return await gather_or_cancel(map(self._likelihood, texts))

    async def _likelihood(self, text: str) -> Likelihood:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        tokenizer = self._engine.get_tokenizer()
        before, tokens = (list(tokenizer.encode(each)) for each in (BEFORE_TEXTS, f"{BEFORE_TEXTS}{text}"))
        if len(tokens) >= self._most:
            raise ChatRefused(f"a text of {len(tokens)} tokens does not fit max_model_len {self._most}")
        first = first_of_text(before, tokens)
        parameters = SamplingParams(max_tokens=1, prompt_logprobs=0, output_kind=RequestOutputKind.FINAL_ONLY)
        rows = (await self._generate(tokens, parameters)).prompt_logprobs
        known = [row[token].logprob for token, row in zip(tokens[first:], rows[first:], strict=True)]
        return Likelihood(math.fsum(known), len(known))

    async def _generate(self, tokens: list[int], parameters: Any) -> Any:
        """The last output of a sequence. Cancelling it aborts the sequence."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            async for output in self._engine.generate(
                {"prompt_token_ids": tokens}, parameters, f"edits-{next(self._numbers)}"
            ):
                final = output
        except EngineDeadError as error:
            raise Unavailable("the vLLM engine has died") from error
        return final

    async def check(self) -> None:
        """Raise Unavailable when the engine has died."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self._engine.check_health()
        except EngineDeadError as error:
            raise Unavailable("the vLLM engine has died") from error

    async def close(self) -> None:
        """Stop the engine's process."""
        self._engine.shutdown()

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        tokenizer = self._engine.get_tokenizer()
        if getattr(tokenizer, "chat_template", None):
            templated = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
            return list(tokenizer.encode(templated, add_special_tokens=False))
        plain = "\n\n".join(message["content"] for message in messages)
        return list(tokenizer.encode(f"{plain}\nanswer: "))


@contextlib.contextmanager
def _written() -> Iterator[Callable[[], str]]:
    """What this process and its children write to standard error in the block; at its end it is written there too."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        original = os.dup(2)
        os.dup2(file.fileno(), 2)

        def read() -> str:
            return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")

        try:
            with stderr_stands_in(original):
                yield read
        finally:
            os.dup2(original, 2)
            os.close(original)
            sys.stderr.write(read())


def _cause(error: Exception, written: str) -> str:
    """Why the engine did not start: of vLLM's own process, the error that it wrote; it raises none of it here."""
    raised = [line for line in map(_in_log, written.splitlines()) if _RAISED.match(line) and "root cause" not in line]
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return raised[0] if raised and "root cause" in str(error) else lines[0]


def _in_log(line: str) -> str:
    """A line without the prefix of vLLM's log: process, level, time and place."""
    return line.rpartition("] ")[2].strip()


def _on_cpu(config: EngineConfig) -> dict[str, Any]:
    """On a CPU, prompts are read whole: vLLM 0.32 dies there when it reads a part of a chat that has a seed.

    It then rewinds the chat's random generator, which torch's CPU generator does not support. Nothing is compiled: that
    takes minutes at every start with another model, for work that a CPU is too slow for anyway.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return {}
    most = max(config.max_model_len, _CPU_BATCH)
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": most, "enforce_eager": True}
