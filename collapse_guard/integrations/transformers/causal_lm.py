"""A sampler for causal language models: rows of generated text and tokens, as the looks of a guard want them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch

from collapse_guard.errors import InputError

ModelFrom = str | Callable[[Any], Any]


class CausalLMSampler:
    """Draws fresh rows of a causal language model that has the ``generate`` of `transformers`.

    Each row begins with a prompt that is drawn at random, with torch's random state, so that rows are independent; the
    prompt and all special tokens are left out of what is returned. Padding is on the left, whatever the tokenizer is
    set to, and the tokenizer is not changed.

    Args:
        tokenizer: of `transformers`; needs a pad token or an end token.
        prompts: texts to go on from, one or more. ``""`` stands for the tokenizer's begin token.
        max_new_tokens: tokens per row, at most.
        batch_size: rows that are generated at once.
        do_sample: False takes the most likely token each time: rows of one prompt are then all alike.
        temperature: of sampling; that of the model's generation config if left out, as for the next two.
        top_p: share of the mass that is sampled from, in (0, 1].
        top_k: number of tokens that are sampled from; 0 for all. `transformers` itself takes 50 unless a model says
            otherwise, which hides the rare tokens of a large vocabulary from every look.
        model_from: where the language model is in what the guard watches: a path of attributes, such as ``model`` for
            a LightningModule with ``self.model``, or a callable. The watched model itself if left out.

    Example: ``CollapseGuard(policy, sampler=CausalLMSampler(tokenizer, prompts, model_from="model"))``
    """

    def __init__(  # noqa: PLR0913 - keyword-only, and each is one thing a user may say
        self,
        tokenizer: Any,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 64,
        batch_size: int = 32,
        do_sample: bool = True,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        model_from: ModelFrom | None = None,
    ) -> None:
        _check_counts(max_new_tokens=max_new_tokens, batch_size=batch_size)
        options = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        self.options = {name: value for name, value in options.items() if value is not None}
        _check_options(self.options, do_sample=do_sample)
        self.tokenizer = tokenizer
        self.prompts = _encoded(tokenizer, prompts)
        self.pad = _pad_of(tokenizer)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.do_sample = do_sample
        self.model_from = model_from

    def __call__(self, model: Any, n_rows: int) -> dict[str, list[Any]]:
        """Return ``n_rows`` rows: ``text``, and ``input_ids`` of the new tokens.

        Raises InputError for fewer rows than one, a model that cannot generate, and prompts that leave it no room.
        """
        _check_counts(n_rows=n_rows)
        language_model = self._language_model(model)
        chosen = [self.prompts[at] for at in torch.randint(len(self.prompts), (n_rows,)).tolist()]
        self._check_room(language_model, max(map(len, chosen)))
        ids: list[list[int]] = []
        with _evaluating(language_model):
            for begin in range(0, n_rows, self.batch_size):
                ids += self._generated(language_model, chosen[begin : begin + self.batch_size])
        return {"text": [self.tokenizer.decode(row, skip_special_tokens=True) for row in ids], "input_ids": ids}

    def _language_model(self, model: Any) -> Any:
        where = self.model_from
        found = where(model) if callable(where) else _attribute(model, where or "")
        if not callable(getattr(found, "generate", None)):
            raise InputError(_cannot_generate(model, found))
        if getattr(getattr(found, "config", None), "is_encoder_decoder", False):
            raise InputError(f"{type(found).__name__} is an encoder-decoder; give the guard a sampler of your own")
        return found

    def _check_room(self, language_model: Any, n_prompt: int) -> None:
        """Raise if prompt and new tokens are more than the model has positions for."""
        most = getattr(getattr(language_model, "config", None), "max_position_embeddings", None)
        if isinstance(most, int) and n_prompt + self.max_new_tokens > most:
            text = f"a prompt of {n_prompt} tokens and max_new_tokens={self.max_new_tokens} do not fit"
            raise InputError(f"{text} into the {most} positions of the model; shorten either")

    def _generated(self, language_model: Any, prompts: list[list[int]]) -> list[list[int]]:
        """Return the new tokens of each prompt, without special ones."""
        length = max(map(len, prompts))
        padded = torch.tensor([[self.pad] * (length - len(ids)) + ids for ids in prompts])
        mask = torch.tensor([[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts])
        device = next(language_model.parameters()).device
        rows = language_model.generate(
            padded.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=self.max_new_tokens,
            do_sample=self.do_sample,
            pad_token_id=self.pad,
            num_return_sequences=1,
            return_dict_in_generate=False,
            **self.options,
        )
        ends, special = self._ends(language_model), set(self.tokenizer.all_special_ids)
        return [_kept(row, ends, special) for row in rows[:, length:].tolist()]

    def _ends(self, language_model: Any) -> set[int]:
        """Return the tokens that end a row; the model fills up with padding after them."""
        ends = getattr(getattr(language_model, "generation_config", None), "eos_token_id", None)
        return {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}


def _kept(row: list[int], ends: set[int], special: set[int]) -> list[int]:
    """Return the tokens before the first end, without special ones.

    >>> _kept([5, 1, 7, 0, 8], ends={0}, special={0, 1})
    [5, 7]
    """
    end = next((at for at, token in enumerate(row) if token in ends), len(row))
    return [token for token in row[:end] if token not in special]


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Eval mode and no gradients; the mode of every part is as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _encoded(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each prompt; those of an empty one are the begin token."""
    if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
        raise InputError('prompts must be a list of texts, such as ["The", "Once upon a time"]')
    if not prompts:
        raise InputError('prompts must hold one text or more; [""] begins with the tokenizer\'s begin token')
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    encoded = [list(tokenizer(prompt)["input_ids"]) or begin for prompt in prompts]
    if not all(encoded):
        empty = [prompt for prompt, ids in zip(prompts, encoded, strict=True) if not ids]
        raise InputError(f"prompt {empty[0]!r} has no tokens, and the tokenizer no begin token; give it a word")
    return encoded


def _pad_of(tokenizer: Any) -> int:
    """Return the token to fill up with; the mask hides it, so that the end token does as well."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise InputError("the tokenizer has neither a pad token nor an end token; set tokenizer.pad_token")


def _attribute(model: Any, path: str) -> Any:
    try:
        return reduce(getattr, path.split("."), model) if path else model
    except AttributeError as error:
        raise InputError(f"model_from={path!r}: {error}; name the attribute that holds the language model") from None


def _cannot_generate(model: Any, found: Any) -> str:
    """Return what to say of a model without ``generate``: where in it there is one."""
    children = model.named_children() if hasattr(model, "named_children") else ()
    names = [repr(name) for name, child in children if callable(getattr(child, "generate", None))]
    remedy = f"pass model_from={names[0]}" if names else "pass model_from=, or give the guard a sampler of your own"
    return f"{type(found).__name__} has no generate of transformers; {remedy}"


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"{name} must be a whole number of 1 or more, got {count!r}")


def _check_options(options: dict[str, float], *, do_sample: bool) -> None:
    if options and not do_sample:
        raise InputError(f"do_sample=False takes no {', '.join(options)}; leave it out, or sample")
    if not options.get("temperature", 1.0) > 0:
        raise InputError(f"temperature must be above 0, got {options['temperature']!r}; do_sample=False for the limit")
    if not 0 < options.get("top_p", 1.0) <= 1:
        raise InputError(f"top_p must be in (0, 1], got {options['top_p']!r}")
    if isinstance(options.get("top_k", 0), float) or options.get("top_k", 0) < 0:
        raise InputError(f"top_k must be a whole number of 0 or more, got {options['top_k']!r}")
