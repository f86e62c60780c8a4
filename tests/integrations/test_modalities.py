"""Every kind of cells on its way: declared, fitted on real rows, kept beside the manifest, halting a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
from datasets import Dataset
from pytorch_lightning.demos.boring_classes import BoringModel

from collapse_guard import Anchor, CollapseGuard, CollapseHalt, GuardedDataset, InputError, load_manifest
from collapse_guard.errors import CellError, PolicyError
from collapse_guard.integrations.hugging_face.saved import MANIFEST_FILE
from collapse_guard.monitor import anchor_path
from collapse_guard.policy import Coverage, Policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

N_LOOK = 600


def fit(guard: CollapseGuard, tmp_path: Path, *, max_epochs: int = 2) -> None:
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        limit_train_batches=1,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=guard,
    )
    trainer.fit(BoringModel())


def looks(guard: CollapseGuard) -> list[Any]:
    assert guard.watch is not None
    return list(guard.watch.looks)


def policy(**coverage: Any) -> dict[str, Any]:
    return {"version": 1, "coverage": {"samples_per_look": N_LOOK, "planned_looks": 20} | coverage}


def coverage_of(values: dict[str, Any]) -> Coverage:
    found = Policy.coerce(values).coverage
    assert found is not None
    return found


def vectors(n_rows: int, seed: int, *, modes: tuple[int, ...] = (0, 1, 2, 3)) -> NDArray[np.float64]:
    """Rows around four places in the plane with a long tail; ``modes`` are those that are left."""
    rng = np.random.default_rng(seed)
    places, shares = np.array([[0, 0], [6, 0], [0, 6], [6, 6]]), np.array([0.8, 0.12, 0.05, 0.03])
    left = shares * np.isin(np.arange(4), modes)
    where = rng.choice(4, size=n_rows, p=left / left.sum())
    return np.asarray(places[where] + rng.normal(0, 0.4, (n_rows, 2)))


def words(n_rows: int, seed: int, *, richness: int) -> list[str]:
    """Short documents: common words and, in each, some of ``richness`` rare ones."""
    rng = np.random.default_rng(seed)
    common = rng.integers(0, 40, (n_rows, 6))
    rare = rng.integers(0, richness, (n_rows, 4))
    return [
        " ".join([*(f"c{word}" for word in row), *(f"r{word}" for word in others)])
        for row, others in zip(common, rare, strict=True)
    ]


CLUSTERS = policy(cells={"kind": "clusters", "n_cells": 8, "outlier_share": 0.0}, tail_mass=0.12)


def embedded(n_rows: int, seed: int, **changes: Any) -> Dataset:
    return Dataset.from_dict({"embedding": vectors(n_rows, seed, **changes).tolist()})


def of_vectors(**changes: Any) -> Callable[[Any, int], dict[str, Any]]:
    state = {"seed": 100}

    def sampler(_: Any, n_rows: int) -> dict[str, Any]:
        state["seed"] += 1
        return {"embedding": vectors(n_rows, state["seed"], **changes)}

    return sampler


def saved(tmp_path: Path, name: str = "gen1") -> Path:
    GuardedDataset(CLUSTERS).add_real(embedded(2_000, 1), source="web").save(tmp_path / name)
    return tmp_path / name / MANIFEST_FILE


def test_clusters_are_kept_beside_the_manifest_and_halt_a_run_that_lost_a_mode(tmp_path: Path) -> None:
    manifest = saved(tmp_path)
    fine = CollapseGuard(CLUSTERS, manifest=manifest, sampler=of_vectors())
    fit(fine, tmp_path)
    assert len(looks(fine)) == 2
    assert all(abs(look.tail_mass_ratio - 1) < 0.5 for look in looks(fine))
    lost = CollapseGuard(CLUSTERS, manifest=saved(tmp_path, "again"), sampler=of_vectors(modes=(0, 1)))
    with pytest.raises(CollapseHalt, match="against real"):
        fit(lost, tmp_path)


def test_the_manifest_counts_cells_so_that_a_lost_cell_is_found_at_review(tmp_path: Path) -> None:
    manifest = load_manifest(saved(tmp_path))
    anchor = Anchor.of_manifest(manifest, coverage_of(CLUSTERS))
    assert manifest.class_rows() == {
        name: rows for name, rows in zip(anchor.maps[0].cells.names, anchor.maps[0].counts.rows, strict=True) if rows
    }


def test_a_later_generation_counts_the_cells_that_the_chain_began_with(tmp_path: Path) -> None:
    first = saved(tmp_path)
    held = GuardedDataset.load(tmp_path / "gen1", CLUSTERS)
    held.add_real(embedded(500, 2), source="later")
    held.save(tmp_path / "gen2")
    second = tmp_path / "gen2" / MANIFEST_FILE
    coverage = coverage_of(CLUSTERS)
    before, after = (Anchor.of_manifest(load_manifest(path), coverage) for path in (first, second))
    assert before.maps[0].cells.digest == after.maps[0].cells.digest
    assert (before.maps[0].counts.n_rows, after.maps[0].counts.n_rows) == (2_000, 2_500)
    parent = CollapseGuard(CLUSTERS, manifest=first, sampler=of_vectors())
    fit(parent, tmp_path)
    child = CollapseGuard(CLUSTERS, manifest=second, parent=first, sampler=of_vectors())
    fit(child, tmp_path, max_epochs=1)
    assert [look.generation for look in looks(child)] == [1, 1, 2]
    assert any("against first_model" in title for title in looks(child)[-1].parts)


def test_a_reference_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = anchor_path(saved(tmp_path))
    content = json.loads(path.read_text())
    content["anchor"]["maps"][0]["rows"][0] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"reference\.json: not a reference of the guard \(it was changed"):
        CollapseGuard(CLUSTERS, manifest=tmp_path / "gen1" / MANIFEST_FILE, sampler=of_vectors())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "collapse-guard/reference/9"}'])
def test_a_file_that_is_no_reference_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = anchor_path(saved(tmp_path))
    path.write_text(text)
    with pytest.raises(InputError, match="not a reference of the guard") as caught:
        CollapseGuard(CLUSTERS, manifest=tmp_path / "gen1" / MANIFEST_FILE, sampler=of_vectors())
    assert "\n" not in str(caught.value)


def test_a_reference_may_not_name_code_that_the_policy_does_not(tmp_path: Path) -> None:
    path = anchor_path(saved(tmp_path))
    content = json.loads(path.read_text())
    content["cells"][0]["embed"] = "os:getcwd"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"it names embed 'os:getcwd', the policy None"):
        CollapseGuard(CLUSTERS, manifest=tmp_path / "gen1" / MANIFEST_FILE, sampler=of_vectors())


def test_other_cells_than_those_saved_need_a_reference_of_their_own(tmp_path: Path) -> None:
    manifest = saved(tmp_path)
    finer = policy(cells={"kind": "clusters", "n_cells": 9, "outlier_share": 0.0})
    with pytest.raises(CellError, match=r"its classes alone do not give the cells.*Anchor\.fit"):
        CollapseGuard(finer, manifest=manifest, sampler=of_vectors())
    real = embedded(2_000, 1).with_format("arrow")[:]
    fitted = CollapseGuard(finer, reference=Anchor.fit(real, coverage_of(finer)), sampler=of_vectors(), contract=False)
    fit(fitted, tmp_path)
    assert len(looks(fitted)) == 2


TEXT = policy(cells=[], scores=[{"kind": "hapax"}], planned_looks=8)


def of_words(richness: int) -> Callable[[Any, int], dict[str, Any]]:
    state = {"seed": 0}

    def sampler(_: Any, n_rows: int) -> dict[str, Any]:
        state["seed"] += 1
        return {"text": words(n_rows, state["seed"], richness=richness)}

    return sampler


def text_generation(tmp_path: Path, name: str, sampler: Any, parent: Path | None = None) -> tuple[Path, CollapseGuard]:
    """One generation of a text loop that is watched by scores alone."""
    rows = Dataset.from_dict({"text": [f"real row {row}" for row in range(20)]})
    held = GuardedDataset(TEXT, parent=parent).add_real(rows, source="web")
    held.save(tmp_path / name)
    path = tmp_path / name / MANIFEST_FILE
    return path, CollapseGuard(TEXT, manifest=path, parent=parent, sampler=sampler)


def test_text_halts_on_the_share_of_words_that_no_other_document_has(tmp_path: Path) -> None:
    first, guard = text_generation(tmp_path, "one", of_words(3_000))
    fit(guard, tmp_path, max_epochs=1)
    assert looks(guard)[0].parts == {}, "the first model is the reference, it is not measured against itself"
    second, guard = text_generation(tmp_path, "two", of_words(3_000), first)
    fit(guard, tmp_path, max_epochs=1)
    assert looks(guard)[-1].action == "continue"
    assert list(looks(guard)[-1].parts) == ["score_drop of hapax of text against first_model"]
    _, guard = text_generation(tmp_path, "three", of_words(600), second)
    with pytest.raises(CollapseHalt, match=r"the mean of hapax of text fell to 0\.\d\d of first model"):
        fit(guard, tmp_path, max_epochs=1)


def test_scores_and_several_cell_maps_are_watched_together(tmp_path: Path) -> None:
    both = policy(
        cells=[{"kind": "bins", "columns": ["age"], "n_bins": 4}, {"column": "kind"}],
        scores=[{"kind": "column", "column": "quality", "against": "real"}],
        tail_mass=0.3,
    )
    rng = np.random.default_rng(0)

    def rows(n_rows: int, quality: float = 0.5) -> dict[str, Any]:
        kinds = rng.choice(["a", "b", "c"], size=n_rows, p=[0.7, 0.2, 0.1])
        return {
            "age": rng.normal(40, 10, n_rows).tolist(),
            "kind": kinds.tolist(),
            "quality": rng.beta(20 * quality, 20 * (1 - quality), n_rows).tolist(),
        }

    GuardedDataset(both).add_real(Dataset.from_dict(rows(2_000)), source="table").save(tmp_path / "gen1")
    manifest = tmp_path / "gen1" / MANIFEST_FILE
    guard = CollapseGuard(both, manifest=manifest, sampler=lambda _, n_rows: rows(n_rows))
    fit(guard, tmp_path)
    titles = list(looks(guard)[-1].parts)
    assert len(titles) == 9
    assert {"class_loss of bins of age against real", "score_drop of column of quality against real"} <= set(titles)
    worse = CollapseGuard(both, manifest=manifest, sampler=lambda _, n_rows: rows(n_rows, 0.3))
    with pytest.raises(CollapseHalt, match="the mean of column of quality fell"):
        fit(worse, tmp_path)


FIXED = policy(cells={"column": "label"}, looks="fixed_set", tail_mass=0.12)


@pytest.mark.parametrize("baseline", ["real", "parent", "peak"])
def test_predictions_on_a_fixed_set_halt_a_run_whose_rare_class_is_no_longer_predicted(
    tmp_path: Path, baseline: str
) -> None:
    values = policy(cells={"column": "label"}, looks="fixed_set", tail_mass=0.12, baseline=baseline)
    rows = {"text": [f"row {row}" for row in range(1_000)], "label": [0] * 900 + [1] * 100}
    GuardedDataset(values).add_real(Dataset.from_dict(rows), source="web").save(tmp_path / "gen1")
    answers = iter([[0] * 898 + [1] * 102, [0] * 900 + [1] * 100, [0] * 970 + [1] * 30])
    guard = CollapseGuard(
        values, manifest=tmp_path / "gen1" / MANIFEST_FILE, sampler=lambda _model, _n: np.array(next(answers))
    )
    with pytest.raises(CollapseHalt, match="the exact test of look 3 is over its level"):
        fit(guard, tmp_path, max_epochs=5)
    assert [look.action for look in looks(guard)] == ["continue", "continue", "halt"]


def test_code_in_a_policy_file_is_not_run_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('version: 1\ncoverage: {cells: {kind: callable, function: "os:getcwd", names: [a, b]}}\n')
    with pytest.raises(PolicyError, match=r"coverage\.cells\.function: names code.*allow_code=True"):
        CollapseGuard(path, sampler=of_vectors())


def test_a_configuration_that_could_not_see_extinction_is_refused_before_the_first_step(tmp_path: Path) -> None:
    blind = policy(cells={"column": "label"}, samples_per_look=5, planned_looks=2, tail_mass=0.12)
    rows = {"text": [f"row {row}" for row in range(1_000)], "label": [0] * 990 + [1] * 10}
    GuardedDataset(blind).add_real(Dataset.from_dict(rows), source="web").save(tmp_path / "gen1")
    guard = CollapseGuard(
        blind, manifest=tmp_path / "gen1" / MANIFEST_FILE, sampler=lambda _, n: np.zeros(n, dtype=np.int64)
    )
    with pytest.raises(InputError, match=r"samples_per_look is 5: not even the extinction .* ask for \d+ rows or more"):
        fit(guard, tmp_path)
