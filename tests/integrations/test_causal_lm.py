"""Rows of a causal language model: what the sampler returns, and a guard that watches them in a Lightning run."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import pytorch_lightning as pl
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from collapse_guard import Anchor, CollapseGuard, CollapseHalt, InputError, Policy
from collapse_guard.integrations.transformers.causal_lm import CausalLMSampler

if TYPE_CHECKING:
    from pathlib import Path

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
WORDS = tuple(f"w{number}" for number in range(60))
SHARES = 1 / np.arange(1, len(WORDS) + 1) / (1 / np.arange(1, len(WORDS) + 1)).sum()
PAD, BEGIN, END = 0, 1, 2
N_NEW = 8


def tokenizer_of(**tokens: str | None) -> Any:
    """Return a tokenizer of whole words, built in code."""
    model = models.WordLevel({word: at for at, word in enumerate((*SPECIAL, *WORDS))}, unk_token="<unk>")
    inner = Tokenizer(model)
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    named: dict[str, Any] = {
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    } | tokens
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=inner, **{key: name for key, name in named.items() if name is not None})


def language_model(*, bias: dict[int, float] | None = None) -> Any:
    """Return a tiny GPT-2 whose words are about as frequent as real ones, and that never ends by itself."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "n_positions": 32,
        "n_embd": 16,
        "n_layer": 1,
        "n_head": 2,
    }
    made = GPT2LMHeadModel(GPT2Config(**settings, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=PAD))
    logits = torch.cat([torch.full((len(SPECIAL),), -30.0), torch.tensor(np.log(SHARES), dtype=torch.float32)])
    for token, value in (bias or {}).items():
        logits[token] = value
    made.lm_head.register_parameter("bias", torch.nn.Parameter(logits))
    return made


def real_rows(n_rows: int, seed: int = 0) -> dict[str, list[Any]]:
    drawn = np.random.default_rng(seed).choice(len(WORDS), size=(n_rows, N_NEW), p=SHARES)
    return {
        "text": [" ".join(WORDS[at] for at in row) for row in drawn],
        "input_ids": [[at + len(SPECIAL) for at in row] for row in drawn.tolist()],
    }


def sampler_of(prompts: Any = ("w1 w2", "w3"), tokenizer: Any = None, **options: Any) -> CausalLMSampler:
    settings: dict[str, Any] = {"max_new_tokens": N_NEW, "top_k": 0} | options
    return CausalLMSampler(tokenizer or tokenizer_of(), list(prompts), **settings)


# ------------------------------------------------------------------ rows


@pytest.mark.parametrize("n_rows", [1, 7, 32, 33])
@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_as_many_rows_come_back_as_were_asked_for(n_rows: int, batch_size: int) -> None:
    rows = sampler_of(batch_size=batch_size)(language_model(), n_rows)
    assert sorted(rows) == ["input_ids", "text"]
    assert [len(column) for column in rows.values()] == [n_rows, n_rows]
    assert {len(ids) for ids in rows["input_ids"]} == {N_NEW}
    assert all(
        text == " ".join(WORDS[at - len(SPECIAL)] for at in ids)
        for text, ids in zip(*(rows["text"], rows["input_ids"]), strict=True)
    )


def test_rows_of_short_and_long_prompts_are_those_of_each_alone() -> None:
    """Padding on the left and its mask: a greedy row does not depend on what is generated beside it."""
    model, prompts = language_model(bias={4 + at: 0.0 for at in range(60)}), ["w1 w2 w3 w4 w5", "w9"]
    for block in model.transformer.h:
        torch.nn.init.normal_(block.attn.c_attn.weight, std=2.0)
    torch.nn.init.normal_(model.transformer.wte.weight, std=1.0)
    alone = {prompt: sampler_of([prompt], do_sample=False, top_k=None)(model, 1)["text"][0] for prompt in prompts}
    assert len(set(alone.values())) == 2
    together = sampler_of(prompts, do_sample=False, top_k=None)(model, 20)["text"]
    assert set(together) == set(alone.values())


def test_prompts_are_drawn_from_the_state_of_torch() -> None:
    model, sampler = language_model(), sampler_of([f"w{number}" for number in range(40)])
    texts = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        texts.append(sampler(model, 10)["text"])
    assert texts[0] == texts[1] != texts[2]


def test_each_prompt_has_its_turn() -> None:
    class Echo:
        """A model that says the last token of its prompt again."""

        config = generation_config = None

        def parameters(self) -> Any:
            return iter([torch.zeros(1)])

        def modules(self) -> Any:
            return ()

        def eval(self) -> None:
            pass

        def generate(self, ids: torch.Tensor, **options: Any) -> torch.Tensor:
            assert not torch.is_grad_enabled()
            assert torch.equal(options["attention_mask"] == 0, ids == PAD)
            return torch.cat([ids, ids[:, -1:]], dim=1)

    said = Counter(sampler_of(["w1 w2", "w3", "w7 w8 w9"])(Echo(), 3_000)["text"])
    assert set(said) == {"w2", "w3", "w9"}
    assert all(abs(count - 1_000) < 130 for count in said.values())  # five standard deviations


def test_what_follows_the_end_and_special_tokens_are_left_out() -> None:
    rows = sampler_of()(language_model(bias={END: 1.0, 3: 0.0}), 300)
    lengths = Counter(map(len, rows["input_ids"]))
    assert lengths[0] > 10
    assert lengths[N_NEW] < 200
    assert not {PAD, BEGIN, END, 3} & {token for ids in rows["input_ids"] for token in ids}
    assert not [text for text in rows["text"] if "<" in text]
    assert [len(text.split()) for text in rows["text"]] == [len(ids) for ids in rows["input_ids"]]


def test_a_tokenizer_without_a_pad_token_fills_up_with_its_end() -> None:
    bare = tokenizer_of(pad_token=None)
    assert bare.pad_token is None
    rows = sampler_of(["w1", "w2 w3 w4"], bare)(language_model(), 20)
    assert {len(ids) for ids in rows["input_ids"]} == {N_NEW}
    assert bare.pad_token is None


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizer_is_not_changed(side: str) -> None:
    held = tokenizer_of()
    held.padding_side = side
    before = pickle.dumps(held)
    sampler_of(["w1", "w2 w3"], held)(language_model(), 5)
    assert held.padding_side == side
    assert pickle.dumps(held) == before


def test_an_empty_prompt_begins_with_the_begin_token() -> None:
    sampler = sampler_of([""])
    assert sampler.prompts == [[BEGIN]]
    assert len(sampler(language_model(), 3)["text"]) == 3


def test_the_model_goes_on_as_it_was() -> None:
    model = language_model().train()
    model.transformer.drop.eval()
    modes = [module.training for module in model.modules()]
    sampler_of()(model, 4)
    assert [module.training for module in model.modules()] == modes
    assert True in modes
    assert False in modes

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    broken = language_model().train()
    broken.generate = fail
    with pytest.raises(ZeroDivisionError):
        sampler_of()(broken, 4)
    assert broken.training
    assert torch.is_grad_enabled()


def test_options_of_sampling_reach_the_model() -> None:
    model = language_model()
    assert len(set(sampler_of(["w1"], do_sample=False, top_k=None)(model, 10)["text"])) == 1
    assert set(" ".join(sampler_of(["w1"], top_k=2)(model, 50)["text"]).split()) == {"w0", "w1"}
    narrow = sampler_of(["w1"], top_p=0.3)(model, 50)["text"]
    assert set(" ".join(narrow).split()) <= {"w0", "w1"}
    flat = Counter(" ".join(sampler_of(["w1"], temperature=50.0)(model, 200)["text"]).split())
    assert flat["w0"] < 80 < 1_600 * SHARES[0]


# ------------------------------------------------------------------ where the model is


class Inside(pl.LightningModule):
    """A LightningModule that holds a language model."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.model = inner
        self.nested = torch.nn.ModuleDict({"lm": inner})

    def training_step(self, batch: torch.Tensor, _: int) -> Any:
        return self.model(input_ids=batch, labels=batch).loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.parametrize("where", ["model", "nested.lm", lambda module: module.model])
def test_the_language_model_is_found_inside_another(where: Any) -> None:
    assert len(sampler_of(model_from=where)(Inside(language_model()), 3)["text"]) == 3


def test_without_model_from_the_message_names_the_attribute() -> None:
    with pytest.raises(InputError, match=r"Inside has no generate of transformers; pass model_from='model'"):
        sampler_of()(Inside(language_model()), 3)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (torch.nn.Linear(2, 2), {}, "Linear has no generate of transformers; pass model_from="),
        (object(), {}, "object has no generate"),
        (
            Inside(torch.nn.Linear(2, 2)),
            {"model_from": "lm"},
            r"model_from='lm': 'Inside' object has no attribute 'lm'",
        ),
        (Inside(torch.nn.Linear(2, 2)), {"model_from": "model"}, "Linear has no generate"),
        (Inside(torch.nn.Linear(2, 2)), {"model_from": lambda module: None}, "NoneType has no generate"),
    ],
)
def test_a_model_that_cannot_generate_is_refused(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sampler_of(**options)(model, 3)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("n_rows", [0, -1, 2.0, True])
def test_fewer_rows_than_one_are_refused(n_rows: Any) -> None:
    with pytest.raises(InputError, match="n_rows must be a whole number of 1 or more"):
        sampler_of()(language_model(), n_rows)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [([], "one text or more"), ("w1", "must be a list of texts"), (["w1", 2], "must be a list of texts")],
)
def test_prompts_that_are_none_are_refused(prompts: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        CausalLMSampler(tokenizer_of(), prompts)


def test_an_empty_prompt_needs_a_begin_token() -> None:
    with pytest.raises(InputError, match="prompt '' has no tokens"):
        CausalLMSampler(tokenizer_of(bos_token=None), ["w1", ""])


def test_a_tokenizer_needs_a_pad_token_or_an_end_token() -> None:
    with pytest.raises(InputError, match=r"neither a pad token nor an end token; set tokenizer\.pad_token"):
        CausalLMSampler(tokenizer_of(pad_token=None, eos_token=None), ["w1"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\]"),
        ({"top_k": -1}, "top_k must be"),
        ({"top_k": 0.5}, "top_k must be"),
        ({"do_sample": False, "top_k": None, "temperature": 0.5}, "do_sample=False takes no temperature"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sampler_of(**options)


def test_prompts_that_leave_no_room_are_refused_before_the_model_fails() -> None:
    with pytest.raises(
        InputError, match=r"a prompt of 28 tokens and max_new_tokens=8 do not fit into the 32 positions"
    ):
        sampler_of([" ".join(["w1"] * 28)])(language_model(), 3)


# ------------------------------------------------------------------ under the guard

POLICY = {
    "version": 1,
    "coverage": {
        "samples_per_look": 400,
        "planned_looks": 8,
        "cells": [
            {"kind": "ngrams", "column": "text", "size": 2, "n_buckets": 64, "first_words": N_NEW},
            {"kind": "tokens", "column": "input_ids", "n_buckets": 8},
        ],
        "scores": [{"kind": "hapax", "column": "text"}],
        "tail_mass": 0.2,
        "advisory_tokens": 500,
    },
}


def guard_of(folder: Path, **options: Any) -> CollapseGuard:
    coverage = Policy.coerce(POLICY).coverage
    assert coverage is not None
    anchor = Anchor.fit(pa.table(real_rows(4_000)), coverage)
    sampler = sampler_of(model_from="model", batch_size=200)
    return CollapseGuard(
        POLICY, reference=anchor, sampler=sampler, contract=False, report=folder / "run.json", **options
    )


def fit(guard: CollapseGuard, model: Any, *, more: Any = (), max_epochs: int = 2) -> None:
    trainer = pl.Trainer(
        callbacks=[*more, guard],
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=None,
    )
    rows = torch.tensor(real_rows(64, seed=1)["input_ids"])
    trainer.fit(Inside(model), DataLoader(rows, batch_size=16))  # type: ignore[arg-type]


def looks_of(guard: CollapseGuard) -> list[Any]:
    assert guard.watch is not None
    return list(guard.watch.looks)


def test_a_healthy_language_model_trains_on(tmp_path: Path) -> None:
    guard = guard_of(tmp_path)
    fit(guard, language_model(), max_epochs=3)
    looks = looks_of(guard)
    assert [look.action for look in looks] == ["continue"] * 3
    assert all(abs(look.tail_mass_ratio - 1) < 0.4 for look in looks)
    assert {f"tail_mass of {cells} against real" for cells in ("ngrams of text", "tokens of input_ids")} <= set(
        looks[-1].parts
    )
    assert looks[0].advisory


def test_a_language_model_that_says_one_word_is_halted(tmp_path: Path) -> None:
    guard = guard_of(tmp_path)
    with pytest.raises(CollapseHalt, match=r"fell to 0\.00 of real"):
        fit(guard, language_model(bias={len(SPECIAL): 30.0}))
    (look,) = looks_of(guard)
    assert look.tail_mass_ratio == 0


def test_a_language_model_that_loses_its_rare_words_while_it_trains_is_halted(tmp_path: Path) -> None:
    class Collapse(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                head: Any = pl_module.model
                head.lm_head.bias.data[len(SPECIAL) + 10 :] = -30.0

    guard = guard_of(tmp_path)
    with pytest.raises(CollapseHalt):
        fit(guard, language_model(), more=[Collapse()], max_epochs=4)
    assert [look.action for look in looks_of(guard)] == ["continue", "halt"]
