"""TRL: provenance survives the preparation of `SFTTrainer`, and what packing drops is said and can be carried."""

from __future__ import annotations

import gc
import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from collapse_guard.errors import CollapseHalt, ContractError, InputError
from collapse_guard.integrations.hugging_face.tags import tag
from collapse_guard.integrations.training.session import GuardSession
from collapse_guard.integrations.transformers.run import STATE_KEY
from collapse_guard.integrations.transformers.trainer import CollapseGuardTrainerMixin, attach

trl: Any = pytest.importorskip("trl")
SFTTrainer: Any = trl.SFTTrainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*return_outputs=True.*:FutureWarning"),
]

#: Only batches are watched, whatever their mix is.
BATCHES = {"version": 1, "mix": {"real_min_share": 0.0}, "batches": {"missing": "error", "every_batches": 2}}
#: Labels of real rows, for samplers that give cells.
LABELS = {"label": ["common"] * 90 + ["rare"] * 6 + ["rarest"] * 4}
N_WORDS = 6


def dying(_: Any, n_rows: int) -> np.ndarray:
    """Return cells of the common class alone."""
    return np.zeros(n_rows, dtype=np.int64)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Keep what is imported out of the garbage collections that `accelerate` asks for in every run."""
    gc.freeze()
    yield
    gc.unfreeze()


def texts_of(n_rows: int, name: str) -> Dataset:
    return Dataset.from_dict({"text": [f"{name} says {row % 7} times that so" for row in range(n_rows)]})


@pytest.fixture
def rows() -> Dataset:
    """Return 24 real and 8 synthetic texts of six words, with all provenance columns."""
    real = tag(texts_of(24, "one"), origin="real", source="web")
    made = tag(texts_of(8, "two"), origin="synthetic", source="model", generator="model@1", generation=1)
    return concatenate_datasets([real, made])


@pytest.fixture
def tokenizer(rows: Dataset) -> PreTrainedTokenizerFast:
    words: Any = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[UNK]", "[PAD]", "[EOS]"]
    words.train_from_iterator(rows["text"], trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    made: Any = PreTrainedTokenizerFast
    return made(  # type: ignore[no-any-return]
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]"
    )


@pytest.fixture
def sft(tmp_path: Path, rows: Dataset, tokenizer: PreTrainedTokenizerFast) -> Callable[..., Any]:
    """Return a maker of trainers of a tiny language model of random weights."""

    def made(cls: Any = SFTTrainer, *, train: Any = None, more: dict[str, Any] | None = None, **options: Any) -> Any:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            pad_token_id=1,
            bos_token_id=2,
            eos_token_id=2,
        )
        settings = {
            "output_dir": str(tmp_path / "out"),
            "num_train_epochs": 1,
            "per_device_train_batch_size": 8,
            "max_length": 16,
            "bf16": False,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "dataloader_pin_memory": False,
        }
        return cls(
            LlamaForCausalLM(config),
            args=trl.SFTConfig(**(settings | options)),
            train_dataset=rows if train is None else train,
            processing_class=tokenizer,
            **(more or {}),
        )

    return made


def counted(session: GuardSession) -> tuple[dict[str, int], int]:
    counts = session.run.batches.counts
    return {name: rows for name, rows in counts.by_origin().items() if rows}, counts.n_untagged_batches


class GuardedSFTTrainer(CollapseGuardTrainerMixin, SFTTrainer):  # type: ignore[misc]
    """The supported route."""


def test_an_attached_trainer_counts_every_row(sft: Any) -> None:
    trainer = sft()
    session = attach(trainer, BATCHES)
    trainer.train()
    assert counted(session) == ({"real": 24, "synthetic": 8}, 0)


def test_a_trainer_with_the_mixin_counts_every_row(sft: Any) -> None:
    session = GuardSession(BATCHES)
    sft(GuardedSFTTrainer, more={"guard": session}, padding_free=True, max_length=None).train()
    assert counted(session) == ({"real": 24, "synthetic": 8}, 0)


def test_the_figures_that_trl_gathers_stand_in_its_own_lines(sft: Any) -> None:
    trainer = sft(logging_steps=2)
    attach(trainer, BATCHES)
    trainer.train()
    lines = [{key.split("/")[0] for key in line} for line in trainer.state.log_history]
    assert [line for line in lines if "loss" in line and "mean_token_accuracy" not in line] == []
    assert [line for line in lines if "collapse_guard" in line and "mean_token_accuracy" in line] == []
    assert sum("loss" in line for line in lines) == 2
    assert any("collapse_guard" in line for line in lines)


@pytest.mark.parametrize("strategy", ["bfd", "wrapped"])
def test_packing_drops_provenance_and_the_remedy_is_said(sft: Any, caplog: Any, strategy: str) -> None:
    trainer = sft(packing=True, packing_strategy=strategy)
    assert "cg_origin" not in trainer.train_dataset.column_names
    with caplog.at_level(logging.WARNING):
        attach(trainer, BATCHES)
    assert "packing=True dropped the provenance of the rows" in caplog.text
    assert "pass packing=False, padding_free=True" in caplog.text
    with pytest.raises(ContractError, match="do not say where their rows come from"):
        trainer.train()


def test_rows_that_were_packed_beforehand_are_counted_by_token(
    sft: Any, rows: Dataset, tokenizer: PreTrainedTokenizerFast, caplog: Any
) -> None:
    def with_origins(row: dict[str, Any]) -> dict[str, Any]:
        ids = tokenizer(row["text"])["input_ids"]
        return {"input_ids": ids, "labels": ids, "cg_origin": [row["cg_origin"]] * len(ids)}

    tokens = rows.map(with_origins, remove_columns=rows.column_names)
    packed = trl.pack_dataset(tokens, seq_length=16, strategy="bfd")
    trainer = sft(train=packed, packing=False, padding_free=True, max_length=None)
    with caplog.at_level(logging.WARNING):
        session = attach(trainer, BATCHES)
    assert "dropped" not in caplog.text
    trainer.train()
    assert counted(session) == ({"real": 24 * N_WORDS, "synthetic": 8 * N_WORDS}, 0)


def test_a_halt_leaves_a_checkpoint_that_says_so(sft: Any, tmp_path: Path) -> None:
    trainer = sft(save_strategy="epoch", num_train_epochs=3)
    policy = BATCHES | {"coverage": {"samples_per_look": 200, "cells": {"column": "label"}}}
    attach(trainer, policy, sampler=dying, reference=LABELS)
    with pytest.raises(CollapseHalt):
        trainer.train()
    assert trainer.state.global_step == 4
    state = json.loads((tmp_path / "out" / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"][STATE_KEY]["attributes"]["note"]["halted"] is True


def test_predictions_of_a_language_model_are_refused(sft: Any, rows: Dataset) -> None:
    trainer = sft(more={"eval_dataset": rows.select(range(4))}, eval_strategy="epoch")
    policy = BATCHES | {"coverage": {"cells": {"column": "label"}}}
    attach(trainer, policy, predictions=True)
    with pytest.raises(InputError, match="watch samples instead"):
        trainer.train()
