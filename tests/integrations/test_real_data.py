"""Real text and real digits through the whole path; skipped where COLLAPSE_GUARD_DATA is not set."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from collapse_guard import AccumulationError, GuardedDataset, check

FOLDER = os.environ.get("COLLAPSE_GUARD_DATA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="COLLAPSE_GUARD_DATA is not set: no real data here")
POLICY: dict[str, Any] = {"version": 1, "coverage": {"cells": {"column": "domain"}}}


@pytest.fixture(scope="module")
def texts() -> tuple[Dataset, dict[str, Dataset]]:
    """Human texts without repeats, and machine texts by generator without the prompt they share with a human text."""
    rows = pq.read_table(Path(str(FOLDER)) / "text" / "human-machine.parquet").to_pylist()
    human = {row["text"]: row for row in rows if row["origin"] == "human"}
    made: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["origin"] == "machine":
            text = row["text"][row["shared_prompt_chars"] :]
            made.setdefault(row["generator"], []).append({"text": text, "domain": row["domain"]})
    real = Dataset.from_list([{"text": text, "domain": row["domain"]} for text, row in human.items()])
    return real, {name: Dataset.from_list(entries) for name, entries in made.items()}


def characters(rows: pa.Table) -> list[int]:
    return [len(text) for text in rows.column("text").to_pylist()]


def held(policy: dict[str, Any], texts: tuple[Dataset, dict[str, Dataset]], **scored: Any) -> GuardedDataset:
    real, made = texts
    data = GuardedDataset(policy).add_real(real, source="human")
    for generator, rows in sorted(made.items()):
        data.add_synthetic(rows, source="machine", generator=generator, generation=1, **scored)
    return data


def test_all_human_texts_are_in_and_machine_texts_are_capped(
    texts: tuple[Dataset, dict[str, Dataset]], tmp_path: Path
) -> None:
    data = held(POLICY, texts)
    real, _ = texts
    assert data.report()["n_real_rows"] == len(real) == data.report()["n_synthetic_rows"] == 6975
    assert len(data.training_set()) == 2 * len(real)
    data.save(tmp_path / "generation-1")
    (tmp_path / "policy.yaml").write_text("version: 1\ncoverage: {cells: {column: domain}}\n")
    assert check(tmp_path / "policy.yaml", tmp_path / "generation-1" / "manifest.cgm.json").findings == ()


def test_losing_human_texts_is_refused_and_says_which(texts: tuple[Dataset, dict[str, Dataset]]) -> None:
    real, made = texts
    parent = GuardedDataset(POLICY).add_real(real, source="human").manifest()
    fewer = GuardedDataset(POLICY, parent=parent).add_real(
        real.filter(lambda row: row["domain"] != "squad"), source="human"
    )
    with pytest.raises(AccumulationError, match=r"1421 real rows lost: human/squad 1421; ids ([0-9a-f]{32}(, )?){10};"):
        fewer.add_synthetic(made["gpt2-xl"], source="machine", generator="gpt2-xl", generation=1).training_set()


def test_a_filter_within_cells_spares_the_domain_that_one_global_cut_would_hit(
    texts: tuple[Dataset, dict[str, Dataset]],
) -> None:
    policy = POLICY | {"filters": {"quality": {"score": "characters", "keep_share": 0.7}}}
    (receipt, *_) = held(policy, texts, score=characters).manifest().header.filters
    within = {cell.cell: cell.kept_rows / cell.rows for cell in receipt.cells}
    assert all(0.70 <= share < 0.72 for share in within.values()), within
    made = [row for rows in texts[1].values() for row in rows.to_list()]
    lengths = np.array([len(row["text"]) for row in made])
    domains = np.array([row["domain"] for row in made])
    kept = lengths >= np.quantile(lengths, 0.3)
    globally = {domain: float(kept[domains == domain].mean()) for domain in within}
    assert min(globally.values()) < 0.6, globally
    assert max(globally.values()) > 0.8, globally


def test_mnist_digits_of_one_class_that_leave_are_lost_rows(tmp_path: Path) -> None:
    def read(name: str, header: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        raw = gzip.decompress((Path(str(FOLDER)) / "images" / name).read_bytes())
        return np.frombuffer(raw, np.uint8, offset=header)

    labels = read("mnist-10k-labels-idx1-ubyte.gz", 8)[:2000]
    images = read("mnist-10k-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:2000]
    rows = Dataset.from_dict({"image": [image.tobytes() for image in images], "label": labels.tolist()})
    policy = {"version": 1, "coverage": {}}
    GuardedDataset(policy).add_real(rows, source="mnist").save(tmp_path / "first")
    n_eights = int((labels == 8).sum())
    without = rows.select(np.flatnonzero(labels != 8))
    with pytest.raises(AccumulationError, match=f"{n_eights} real rows lost: mnist/8 {n_eights};"):
        GuardedDataset(policy, parent=tmp_path / "first" / "manifest.cgm.json").add_real(
            without, source="mnist"
        ).manifest()
