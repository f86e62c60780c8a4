"""Recipes for loops that nobody else drives: Fabric, accelerate, plain ranks; and a newcomer's Trainer script."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: A model of three classes that generates what it has learnt; the same before every recipe.
MODEL = '''
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
torch.manual_seed(0)


class Classes(nn.Module):
    """Learns how frequent three classes are, and draws from them."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(3))

    def forward(self, labels):
        return nn.functional.cross_entropy(self.logits.expand(len(labels), 3), labels)


def sample(model, n):
    return torch.multinomial(model.logits.softmax(0), n, replacement=True)


real = [0] * 720 + [1] * 48 + [2] * 32
kept = [label for label in real if sys.argv[1] == "healthy" or label == 0]
rows = [{"label": label, "cg_origin": 1, "cg_generation": 0} for label in kept]
loader = DataLoader(rows, batch_size=8, shuffle=True)
model = Classes()
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
epochs = 6
'''

# Every line of a recipe that is there for the guard ends with this mark; they are at most six.
MARK = "  # guard"

FABRIC = """
from lightning.fabric import Fabric
from collapse_guard import GuardSession  # guard

fabric = Fabric(accelerator="cpu", devices=int(sys.argv[2]))
fabric.launch()
model, optimizer = fabric.setup(model, optimizer)
loader = fabric.setup_dataloaders(loader)
guard = GuardSession("policy.yaml", sampler=sample, reference={"label": real})  # guard
guard.start("logs")  # guard

for epoch in range(epochs):
    for batch in loader:
        guard.observe(batch)  # guard
        optimizer.zero_grad()
        fabric.backward(model(batch["label"]))
        optimizer.step()
    if guard.end_epoch(model):  # guard
        break
guard.finish(model)  # guard
"""

ACCELERATE = """
from accelerate import Accelerator
from collapse_guard import GuardSession  # guard

accelerator = Accelerator(cpu=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
guard = GuardSession("policy.yaml", sampler=sample, reference={"label": real})  # guard
guard.start("logs")  # guard

for epoch in range(epochs):
    for batch in loader:
        guard.observe(batch)  # guard
        optimizer.zero_grad()
        accelerator.backward(model(batch["label"]))
        optimizer.step()
    if guard.end_epoch(accelerator.unwrap_model(model)):  # guard
        break
guard.finish(accelerator.unwrap_model(model))  # guard
"""

#: Ranks that share no gradients, of which the first has more batches than the second.
UNEVEN = """
from torch import distributed
from collapse_guard import GuardSession

distributed.init_process_group("gloo")
rank = distributed.get_rank()
origin = 2 if sys.argv[1] == "synthetic" else 1
rows = [{"label": 0, "cg_origin": origin, "cg_generation": 0}] * (8 * (40 if rank == 0 else 13))
loader = DataLoader(rows, batch_size=8)


def sound(model, n):
    return torch.tensor(real)[torch.randint(len(real), (n,))]


guard = GuardSession("policy.yaml", sampler=sound, reference={"label": real})
guard.start("logs")
for epoch in range(2):
    for batch in loader:
        guard.observe(batch)
        optimizer.zero_grad()
        model(batch["label"]).backward()
        optimizer.step()
        if guard.after_step(model):
            break
    if guard.end_epoch(model, last=epoch == 1):
        break
guard.end(model)
print("RANK", rank, guard.halted, sum(guard.run.batches.counts.origins), guard.run.batches.counts.n_batches, epoch)
"""

POLICY = """\
version: 1
mix: {real_min_share: 0.5}
batches: {missing: error, every_batches: 5}
coverage: {samples_per_look: 400, cells: {column: label}}
"""

LOOPS = pytest.mark.parametrize("recipe", [FABRIC, ACCELERATE], ids=["fabric", "accelerate"])


def run(folder: Path, *args: str, ranks: dict[str, str] | None = None, name: str = "train.py") -> subprocess.Popen[str]:
    """Start a script of the folder."""
    env = os.environ | {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"} | (ranks or {})
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, name, *args], cwd=folder, env=env, **pipes)


def ended(*started: subprocess.Popen[str]) -> list[tuple[int, str, str]]:
    """Wait for scripts, and return exit code, output and errors of each."""
    try:
        said = [each.communicate(timeout=200) for each in started]
    finally:
        for each in started:
            each.kill()
    return [(each.returncode, out, errors) for each, (out, errors) in zip(started, said, strict=True)]


def two_ranks() -> list[dict[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]


def report_of(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "collapse_guard.default.json").read_text())
    return read


@pytest.fixture
def script(tmp_path: Path) -> Any:
    """Return a writer of a recipe and its policy, which returns the folder."""

    def written(recipe: str, name: str = "run") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "train.py").write_text(MODEL + recipe)
        (folder / "policy.yaml").write_text(POLICY)
        return folder

    return written


@LOOPS
def test_the_documents_have_the_recipe_that_is_run_here(recipe: str) -> None:
    assert recipe.strip() in (Path(__file__).parents[2] / "docs" / "trainers.md").read_text()


@LOOPS
def test_a_recipe_has_at_most_six_lines_for_the_guard(recipe: str) -> None:
    assert sum(line.endswith(MARK) for line in recipe.splitlines()) <= 6
    assert all(line.endswith(MARK) for line in recipe.splitlines() if "guard" in line.lower())


@pytest.mark.slow
@LOOPS
def test_a_recipe_goes_on_with_a_healthy_model_and_halts_one_that_lost_its_tail(script: Any, recipe: str) -> None:
    folders = {kind: script(recipe, kind) for kind in ("healthy", "collapsing")}
    sound, lost = ended(*(run(folder, kind, "1") for kind, folder in folders.items()))
    assert sound[0] == 0, sound
    healthy = report_of(folders["healthy"] / "logs")
    assert (healthy["halted"], healthy["n_looks"]) == (False, 6)
    assert healthy["batches"]["origins"]["real"] == 6 * 800

    assert lost[0] == 1
    assert "CollapseHalt" in lost[2]
    assert report_of(folders["collapsing"] / "logs")["halted"] is True


@pytest.mark.slow
@LOOPS
def test_a_recipe_on_two_ranks_decides_on_both_together(script: Any, recipe: str) -> None:
    for kind, halts in (("healthy", False), ("collapsing", True)):
        folder = script(recipe, kind)
        started = (
            [run(folder, kind, "2")] if recipe is FABRIC else [run(folder, kind, ranks=rank) for rank in two_ranks()]
        )
        results = ended(*started)
        assert [code for code, _, _ in results] == [int(halts)] * len(results), results
        assert all(("CollapseHalt" in errors) is halts for _, _, errors in results)
        report = report_of(folder / "logs")
        assert report["halted"] is halts
        assert report["batches"]["n_ranks"] == 2
        if not halts:
            assert report["batches"]["origins"]["real"] == 6 * 800


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["real", "synthetic"])
def test_ranks_with_unequal_numbers_of_batches_neither_hang_nor_disagree(script: Any, kind: str) -> None:
    folder = script(UNEVEN)
    results = ended(*(run(folder, kind, ranks=rank) for rank in two_ranks()))
    assert [code for code, _, _ in results] == [0, 0], results
    said = [next(line for line in out.splitlines() if line.startswith("RANK")).split() for _, out, _ in results]
    assert [line[2:] for line in said] == [said[0][2:]] * 2
    halted, n_rows, n_batches, epoch = said[0][2:]
    assert halted == str(kind == "synthetic")
    if kind == "real":
        assert (n_rows, n_batches, epoch) == (str(2 * 8 * 53), str(2 * 53), "1")


# ------------------------------------------------------------------ a newcomer's script

#: Tells the lines of a play apart, as scripts in public do; nothing in it knows of this package.
NEWCOMER = """
import json
import sys

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

torch.set_num_threads(1)
torch.manual_seed(0)
with open("lines.json") as file:
    data = Dataset.from_dict(json.load(file))

words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.train_from_iterator(
    data["text"],
    trainers.WordLevelTrainer(vocab_size=2000, special_tokens=["[PAD]", "[UNK]", "[CLS]"], show_progress=False),
)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]")
data = data.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=16), batched=True)
data = data.train_test_split(test_size=0.25, seed=0)

model = BertForSequenceClassification(
    BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        num_labels=3,
    )
)


def compute_metrics(prediction):
    return {"accuracy": float((np.argmax(prediction.predictions, axis=-1) == prediction.label_ids).mean())}


trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="out",
        num_train_epochs=4,
        learning_rate=float(sys.argv[1]),
        per_device_train_batch_size=32,
        per_device_eval_batch_size=128,
        eval_strategy="epoch",
        save_strategy="epoch",
        report_to="none",
        seed=0,
        use_cpu=True,
    ),
    train_dataset=data["train"],
    eval_dataset=data["test"],
    data_collator=DataCollatorWithPadding(tokenizer),
    compute_metrics=compute_metrics,
)
trainer.train()
trainer.save_model("final")
"""

#: The two lines that are added, each before the line that it names.
ADDED = {
    "import numpy as np": "from collapse_guard import attach",
    "trainer.train()": 'attach(trainer, "policy.yaml", predictions=True)',
}

WATCHED = """\
version: 1
batches: {missing: ignore}
coverage: {cells: {column: label}, tail_mass: 0.1, warmup: {epochs: 2}, baseline: real}
"""


def lines_of_a_play() -> list[str]:
    """Return lines of real plays, or made ones where there are none at hand."""
    held = os.environ.get("COLLAPSE_GUARD_DATA")
    play = None if held is None else Path(held) / "text" / "tinyshakespeare.txt"
    if play is not None and play.exists():
        return [line.strip() for line in play.read_text(encoding="utf-8").splitlines() if line.strip()][:4000]
    chance = random.Random(0)
    words = [f"word{number}" for number in range(500)]
    ends = chance.choices([",", ":", "?"], [70, 25, 5], k=4000)
    return [" ".join(chance.choices(words, k=1 if end == ":" else 7)) + end for end in ends]


def kind_of(line: str) -> int:
    """Return 1 for the name of who speaks, 2 for a question (the rare class), else 0."""
    return {":": 1, "?": 2}.get(line[-1], 0)


@pytest.fixture
def newcomer(tmp_path: Path) -> Path:
    """Return a folder with the script, its data, and a policy."""
    script = NEWCOMER
    for before, line in ADDED.items():
        assert script.count(f"\n{before}\n") == 1
        script = script.replace(f"\n{before}\n", f"\n{line}\n{before}\n")
    lines = lines_of_a_play()
    (tmp_path / "train.py").write_text(script)
    (tmp_path / "policy.yaml").write_text(WATCHED)
    (tmp_path / "lines.json").write_text(json.dumps({"text": lines, "label": [kind_of(line) for line in lines]}))
    return tmp_path


def test_two_added_lines_halt_a_script_whose_model_never_asks(newcomer: Path) -> None:
    ((code, _, errors),) = ended(run(newcomer, "3e-4"))
    assert code == 1
    assert "CollapseHalt" in errors
    report = report_of(newcomer / "out")
    assert report["halted"] is True
    assert report["predictions"]["looks"][-1]["counts"][2] == 0
    (last,) = (newcomer / "out").glob("checkpoint-188")
    assert json.loads((last / "trainer_state.json").read_text())["epoch"] == 2.0
    assert not (newcomer / "final").exists()


@pytest.mark.slow
def test_two_added_lines_let_a_healthy_model_through(newcomer: Path) -> None:
    ((code, _, errors),) = ended(run(newcomer, "5e-3"))
    assert code == 0, errors
    report = report_of(newcomer / "out")
    assert report["halted"] is False
    assert [look["epoch"] for look in report["predictions"]["looks"]] == [2, 3, 4]
    assert (newcomer / "final" / "model.safetensors").exists()
