"""Each preset on real files of its kind: a sound data set keeps it, a bad one does not."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
import struct
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow.parquet as pq
import pytest

from collapse_guard.cli.init_files import preset_names
from collapse_guard.policy import load_policy
from collapse_guard.policy.presets import preset_path

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


Rows = list[dict[str, Any]]
MADE = ("--generation", "1")
DATA = os.environ.get("COLLAPSE_GUARD_DATA")


class Command(Protocol):
    def __call__(self, *arguments: object, code: int = 0) -> str: ...


def json_lines(path: Path, rows: Rows) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: Rows) -> Path:
    path = path.with_suffix(".csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def pictures(path: Path, rows: Rows) -> Path:
    image = pytest.importorskip("PIL.Image")
    for row in rows:
        target = path / row["label"] / f"{row['n']}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(np.random.default_rng(row["n"]).integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(target)
    return path


def recordings(path: Path, rows: Rows) -> Path:
    for row in rows:
        target = path / row["label"] / f"{row['n']}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(sound(200 + row["n"]))
    return path


def sound(frequency: int) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        values = (int(9000 * math.sin(2 * math.pi * frequency * n / 8000)) for n in range(400))
        file.writeframes(b"".join(struct.pack("<h", value) for value in values))
    return held.getvalue()


def text(n: int, kind: str) -> dict[str, Any]:
    words = random.Random(n).choices(["sea", "hill", "rain", "road", "bell", "wool", "salt"], k=8)
    return {"text": f"{kind} {n} {' '.join(words)}", "domain": ["news", "forum", "law"][n % 3]}


def asked(n: int, kind: str) -> dict[str, Any]:
    row = text(n, kind)
    return {"prompt": f"about {n}?", "completion": row["text"], "task": ["sum", "chat", "code"][n % 3]}


def labelled(n: int, kind: str) -> dict[str, Any]:
    return {"n": n + 1000 * (kind != "people"), "label": ["cat", "dog", "emu"][n % 3]}


def measured(n: int, kind: str) -> dict[str, Any]:
    return {"age": 20 + n % 60, "income": n * 10 + len(kind), "label": ["no", "yes"][n % 2]}


@dataclass(frozen=True)
class Case:
    """How rows of a modality are made and written, and how many of the generated ones are sound."""

    row: Callable[[int, str], dict[str, Any]]
    write: Callable[[Path, Rows], Path]
    n_made: int = 20
    n_unknown: int = 0
    warned: frozenset[str] = frozenset()


CASES = {
    "starter": Case(measured, table),
    "text-pretrain": Case(text, json_lines, n_made=8),
    "text-sft": Case(asked, json_lines),
    "vision-longtail": Case(labelled, pictures),
    "audio": Case(labelled, recordings, n_made=10),
    "tabular": Case(measured, table),
    "scraped-web": Case(
        text, json_lines, n_made=6, n_unknown=40, warned=frozenset({"CG104"})
    ),  # the first scrape moves the mix
}


def test_every_preset_has_a_case() -> None:
    assert set(CASES) == set(preset_names())


@dataclass(frozen=True)
class Bench:
    """A repository begun with a preset."""

    folder: Path
    case: Case
    command: Command

    def write(self, name: str, origin: str, n_rows: int, *options: str, kind: str = "", first: int = 0) -> Path:
        rows = [self.case.row(n, kind or name) for n in range(first, first + n_rows)]
        (self.folder / "data").mkdir(exist_ok=True)
        data = self.case.write(self.folder / "data" / name, rows)
        output = self.folder / "manifests" / f"{name}.cgm.json"
        described = ("--source", name, "--origin", origin, *options)
        self.command("manifest", "write", data, *described, "-p", "collapse_guard.yaml", "-o", output)
        return output

    def merge(self, *parts: Path, parent: Path) -> None:
        current = self.folder / "manifests" / "current.cgm.json"
        self.command("manifest", "merge", *parts, "--parent", parent, "-o", current)

    def check(self, parent: Path, *, code: int) -> dict[str, Any]:
        said = self.command("check", "--against", parent, "--output-format", "json", code=code)
        result: dict[str, Any] = json.loads(said)
        return result


@pytest.fixture(params=sorted(CASES))
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLLAPSE_GUARD_POLICY", raising=False)
    command("init", "--preset", request.param)
    return Bench(tmp_path, CASES[request.param], command)


def sound_parts(bench: Bench) -> tuple[Path, list[Path]]:
    """Return the manifest of the real rows, and those of what comes with them."""
    people = bench.write("people", "real", 60)
    n_made = bench.case.n_made // 2
    made = [
        bench.write(name, "synthetic", n_made, "--generator", f"{name}@1", *MADE, first=first)
        for first, name in ((0, "tutor"), (300, "other"))
    ]
    if bench.case.n_unknown:
        made.append(bench.write("scraped", "unknown", bench.case.n_unknown, "--evidence", "none"))
    return people, made


def codes(result: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in result["findings"] if finding["status"] == "fail"}


def test_sound_data_keeps_the_preset(bench: Bench) -> None:
    people, made = sound_parts(bench)
    bench.merge(people, *made, parent=people)
    result = bench.check(people, code=0)
    assert codes(result) == bench.case.warned
    assert result["verdict"] == "kept"


def test_the_first_manifest_keeps_the_preset_without_a_parent(bench: Bench) -> None:
    people = bench.write("people", "real", 60)
    assert people.is_file()
    current = bench.write("current", "real", 60)
    assert current == bench.folder / "manifests" / "current.cgm.json"
    bench.command("check")


def test_lost_real_rows_break_the_preset(bench: Bench) -> None:
    people, made = sound_parts(bench)
    few = bench.write("few", "real", 50, kind="people")
    bench.merge(few, *made, parent=people)
    assert "CG201" in codes(bench.check(people, code=1))


def test_too_much_that_is_generated_breaks_the_preset(bench: Bench) -> None:
    people = bench.write("people", "real", 60)
    much = bench.write("much", "synthetic", 200, "--generator", "tutor@1", *MADE)
    bench.merge(people, much, parent=people)
    assert "CG101" in codes(bench.check(people, code=1))


def test_a_deep_generation_breaks_the_preset(bench: Bench) -> None:
    people = bench.write("people", "real", 60)
    deep = bench.write("deep", "synthetic", 4, "--generator", "tutor@1", "--generation", "3")
    bench.merge(people, deep, parent=people)
    assert "CG303" in codes(bench.check(people, code=1))


@pytest.mark.parametrize("preset", ["vision-longtail", "text-sft"])
def test_generated_rows_of_one_class_alone_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, preset: str
) -> None:
    monkeypatch.chdir(tmp_path)
    command("init", "--preset", preset)
    case = CASES[preset]
    people = Bench(tmp_path, case, command).write("people", "real", 60)
    head = Bench(tmp_path, Case(lambda n, kind: case.row(3 * n, kind), case.write), command)
    parts = [
        head.write(name, "synthetic", 25, "--generator", f"{name}@1", *MADE, first=first)
        for name, first in (("tutor", 0), ("other", 100))
    ]
    head.merge(people, *parts, parent=people)
    assert "CG503" in codes(head.check(people, code=0))


def test_the_policy_of_a_new_project_demands_what_its_preset_does(bench: Bench) -> None:
    written = load_policy("collapse_guard.yaml")
    presets = {name: load_policy(preset_path(f"{name}@1")).digest for name in CASES}
    assert CASES[next(name for name, digest in presets.items() if digest == written.digest)] is bench.case


@pytest.mark.parametrize("preset", ["starter", "text-pretrain", "text-sft", "tabular", "scraped-web"])
def test_what_is_mixed_under_a_preset_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, preset: str
) -> None:
    from datasets import Dataset

    from collapse_guard import GuardedDataset

    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(f"version: 1\nextends: preset:{preset}@1\n", encoding="utf-8")
    rows = {kind: Dataset.from_list([CASES[preset].row(n, kind) for n in range(60)]) for kind in ("people", "model")}
    GuardedDataset("policy.yaml").add_real(rows["people"], source="people").save("gen0")
    data = GuardedDataset.load("gen0", "policy.yaml")
    data.add_synthetic(rows["model"], source="model", generator="m@1", generation=1)
    assert 60 < len(data.training_set()) <= 120
    data.save("gen1")
    asked = ("check", "-p", "policy.yaml", "-m", "gen1/manifest.cgm.json", "--against", "gen0/manifest.cgm.json")
    result = json.loads(command(*asked, "--output-format", "json"))
    assert (result["verdict"], codes(result) - {"CG104"}) == ("kept", set())


def test_rows_that_are_equal_warn_in_a_table_and_fail_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    command("init", "--preset", "tabular")
    alike = Bench(tmp_path, Case(lambda n, kind: measured(n % 7, kind), table), command)
    alike.write("current", "real", 30)
    found = json.loads(command("check", "--output-format", "json"))["findings"]
    assert [(each["code"], each["severity"]) for each in found] == [("CG005", "warning")]
    command("check", "--fail-on", "warning", code=1)


def test_more_unknown_text_than_human_text_breaks_scraped_web(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    command("init", "--preset", "scraped-web")
    web = Bench(tmp_path, CASES["scraped-web"], command)
    people = web.write("people", "real", 60)
    web.merge(people, web.write("scraped", "unknown", 70, "--evidence", "none"), parent=people)
    assert {"CG101", "CG306"} <= codes(web.check(people, code=1))


@pytest.mark.skipif(DATA is None, reason="COLLAPSE_GUARD_DATA is not set")
class TestRealData:
    """Presets on data that people use: texts of people and machines, digits that people spoke."""

    def test_people_and_machines(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
        monkeypatch.chdir(tmp_path)
        command("init", "--preset", "text-pretrain")
        rows = pq.read_table(Path(str(DATA)) / "text" / "human-machine.parquet", columns=["text", "origin", "domain"])
        human = {row["text"]: row for row in rows.to_pylist() if row["origin"] == "human"}
        machine = {row["text"]: row for row in rows.to_pylist() if row["origin"] == "machine"}
        bench = Bench(tmp_path, CASES["text-pretrain"], command)
        sizes = {"people": list(human.values()), "tutor": list(machine.values())[:150]}
        for name, chosen in sizes.items():
            json_lines(tmp_path / name, [{"text": row["text"], "domain": row["domain"]} for row in chosen])
        write = ("manifest", "write", "-p", "collapse_guard.yaml")
        people, tutor = (tmp_path / "manifests" / f"{name}.cgm.json" for name in sizes)
        command(*write, "people.jsonl", "--source", "people", "--origin", "real", "-o", people)
        made = ("--origin", "synthetic", "--generator", "tutor@1", *MADE)
        command(*write, "tutor.jsonl", "--source", "tutor", *made, "-o", tutor)
        bench.merge(people, tutor, parent=people)
        assert codes(bench.check(people, code=0)) <= {"CG309"}  # a few texts of both are the same
        bench.merge(tutor, parent=people)
        assert {"CG101", "CG201"} <= codes(bench.check(people, code=1))

    def test_spoken_digits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
        monkeypatch.chdir(tmp_path)
        command("init", "--preset", "audio")
        spoken = pq.read_table(Path(str(DATA)) / "audio" / "spoken-digits.parquet").to_pylist()
        for row in spoken:
            target = tmp_path / "data" / row["speaker"] / f"{row['digit']}-{row['take']}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(row["wav"])
        write = ("manifest", "write", "data", "--source", "people", "--origin", "real", "-p", "collapse_guard.yaml")
        command(*write, "-o", "manifests/all.cgm.json")
        silenced = spoken[0]["speaker"]
        for file in (tmp_path / "data" / silenced).iterdir():
            file.unlink()
        command(*write, "--parent", "manifests/all.cgm.json", "-o", "manifests/current.cgm.json")
        bench = Bench(tmp_path, CASES["audio"], command)
        assert {"CG201", "CG501"} <= codes(bench.check(Path("manifests/all.cgm.json"), code=1))
