"""``collapse-guard manifest merge | show | diff | verify | log``, ``export`` and ``schema manifest``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.errors import InputError
from collapse_guard.manifest import Manifest, load_manifest
from collapse_guard.manifest.inventory import take_inventory
from collapse_guard.manifest.json_schema import manifest_json_schema

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def as_json(*arguments: str) -> Any:
    done = run(*arguments, "--output-format", "json")
    return json.loads(done.output)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: two folders of data, a generation of each, and a child of the first."""
    monkeypatch.chdir(tmp_path)
    for name, rows in (("web", 4), ("own", 2), ("more", 5)):
        Path(name).mkdir()
        lines = "".join(f"{name if name != 'more' else 'web'} {n},{'cat' if n else 'dog'}\n" for n in range(rows))
        Path(name, "rows.csv").write_text(f"text,label\n{lines}")
    first = take("web", "gen0/manifest.cgm.json", origin="real")
    take("own", "own.cgm.json", origin="synthetic", generator="m@1", generation=1)
    take("more", "gen1/manifest.cgm.json", origin="real", parent=first, name="gen1")
    return tmp_path


def take(data: str, to: str, **known: Any) -> Manifest:
    source = "web" if data == "more" else data
    return take_inventory(data, to=to, source=source, class_column="label", **known)


def test_show_reads_the_header_alone(here: Path) -> None:
    for part in here.joinpath("gen0", "manifest.index").iterdir():
        part.unlink()
    done = run("manifest", "show", "gen0/manifest.cgm.json")
    assert done.exit_code == 0
    assert "4 rows, 1 shards" in done.output
    assert "web     real       4          4       4" in done.output
    assert run("manifest", "show", "gen0/manifest.cgm.json", "--by", "class").exit_code != 0


@pytest.mark.usefixtures("here")
def test_show_counts_by_columns_of_the_index() -> None:
    view = as_json("manifest", "show", "own.cgm.json", "--by", "class", "--by", "origin")
    assert view["by"]["class"] == [
        {"value": "cat", "rows": 1, "amount": 1.0},
        {"value": "dog", "rows": 1, "amount": 1.0},
    ]
    assert view["origin_rows"] == {"synthetic": 2}
    assert view["generators"] == ["m@1"]
    text = run("manifest", "show", "own.cgm.json", "--by", "origin", "--output-format", "rich").output
    assert "synthetic" in text


@pytest.mark.usefixtures("here")
def test_merge_writes_one_manifest() -> None:
    done = run("manifest", "merge", "gen0/manifest.cgm.json", "own.cgm.json", "-o", "all/mix.cgm.json")
    assert done.exit_code == 0
    merged = load_manifest("all/mix.cgm.json")
    assert (merged.n_rows, merged.header.name, merged.header.generation) == (6, "mix", 0)
    assert merged.verify() == ()
    again = run("manifest", "merge", "gen0/manifest.cgm.json", "gen0/manifest.cgm.json", "-o", "twice.cgm.json")
    assert "1 shards stood in several manifests and are counted once" in again.output
    assert load_manifest("twice.cgm.json").n_rows == 4


@pytest.mark.usefixtures("here")
def test_merge_refuses_other_classes() -> None:
    take_inventory("own", to="bare.cgm.json", source="bare", origin="unknown", evidence="none")
    done = run("manifest", "merge", "own.cgm.json", "bare.cgm.json", "-o", "x.cgm.json")
    assert isinstance(done.exception, InputError)
    assert "class_column is None" in str(done.exception)
    assert not Path("x.cgm.json").exists()


@pytest.mark.usefixtures("here")
def test_diff_has_the_exit_codes_of_diff() -> None:
    same = run("manifest", "diff", "own.cgm.json", "own.cgm.json")
    assert (same.exit_code, same.output) == (0, "the manifests hold the same rows, tags and amounts\n")
    other = run("manifest", "diff", "gen0/manifest.cgm.json", "gen1/manifest.cgm.json")
    assert other.exit_code == 1
    assert "1 ids only in the second" in other.output
    assert "0 ids only in the first" in other.output
    view = as_json("manifest", "diff", "gen0/manifest.cgm.json", "gen1/manifest.cgm.json")
    assert view["differs"] is True
    assert view["only_after"]["n_ids"] == 1
    assert [each["rows_after"] for each in view["sources"]] == [5]


@pytest.mark.usefixtures("here")
def test_verify_says_what_became_of_a_file() -> None:
    arguments = ("manifest", "verify", "gen0/manifest.cgm.json", "--data", "web")
    assert run(*arguments).exit_code == 0
    Path("web/rows.csv").rename("web/renamed.csv")
    done = run(*arguments)
    assert done.exit_code == 1
    assert "rows.csv  renamed  now renamed.csv" in done.output
    assert as_json(*arguments)["files"] == [{"path": "rows.csv", "fault": "renamed", "detail": "now renamed.csv"}]
    assert run("manifest", "verify", "gen0/manifest.cgm.json").exit_code == 0


@pytest.mark.usefixtures("here")
def test_verify_finds_a_header_that_was_changed() -> None:
    path = Path("gen0/manifest.cgm.json")
    header = json.loads(path.read_text())
    header["sources"][0]["real_rows"] = 99
    path.write_text(json.dumps(header))
    done = run("manifest", "verify", str(path))
    assert done.exit_code == 1
    assert "source web" in done.output


@pytest.mark.usefixtures("here")
def test_log_shows_the_generations() -> None:
    done = run("manifest", "log", "gen1/manifest.cgm.json")
    assert done.exit_code == 0
    assert [line.split()[:3] for line in done.output.splitlines()] == [
        ["generation", "name", "rows"],
        ["0", "manifest", "4"],
        ["1", "gen1", "5"],
    ]
    view = as_json("manifest", "log", "gen1/manifest.cgm.json")
    assert view["complete"] is True
    assert [each["rows"] for each in view["generations"]] == [4, 5]


@pytest.mark.usefixtures("here")
def test_log_says_which_parent_is_missing() -> None:
    Path("gen0/manifest.cgm.json").unlink()
    done = run("manifest", "log", "gen1/manifest.cgm.json")
    assert done.exit_code == 0
    assert "missing: the parent" in done.output
    assert as_json("manifest", "log", "gen1/manifest.cgm.json")["complete"] is False


@pytest.mark.usefixtures("here")
def test_export_writes_every_kind() -> None:
    manifest = "gen0/manifest.cgm.json"
    croissant = run("export", manifest, "--to", "croissant", "--license", "CC0-1.0", "-o", "gen0/croissant.json")
    assert croissant.exit_code == 0
    assert "note: Croissant asks for url, creators, published too" in croissant.stderr
    assert json.loads(Path("gen0/croissant.json").read_text())["license"] == "CC0-1.0"
    assert json.loads(run("export", manifest, "--to", "in-toto").stdout)["_type"].endswith("Statement/v1")
    assert yaml.safe_load(run("export", manifest, "--to", "dvc").stdout)["outs"][1]["path"] == "manifest.index"
    assert yaml.safe_load(run("export", manifest, "--to", "card").stdout)["collapse_guard"]["rows"] == 4


@pytest.mark.usefixtures("here")
def test_export_of_a_card_keeps_the_card() -> None:
    Path("README.md").write_text("---\nlicense: mit # ours\n---\n# Rows\n")
    assert run("export", "own.cgm.json", "--to", "card", "-o", "README.md").exit_code == 0
    text = Path("README.md").read_text()
    assert text.startswith("---\nlicense: mit # ours\nsize_categories:\n")
    assert text.endswith("---\n# Rows\n")


@pytest.mark.usefixtures("here")
def test_export_attests_a_result_of_the_gate() -> None:
    Path("policy.yaml").write_text("version: 1\nmix: {real_min_share: 0.5}\naccumulation: {mode: 'off'}\n")
    checked = run("check", "-p", "policy.yaml", "-m", "gen0/manifest.cgm.json", "-o", "result.json")
    assert checked.exit_code == 0, checked.output
    done = run("export", "gen0/manifest.cgm.json", "--to", "in-toto", "--result", "result.json")
    assert json.loads(done.stdout)["predicate"]["result"] == "PASSED"
    other = run("export", "own.cgm.json", "--to", "in-toto", "--result", "result.json")
    assert "the result is about the manifest" in str(other.exception)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", ["croissant", "dvc"])
def test_an_export_with_paths_lies_beside_its_manifest(kind: str) -> None:
    done = run("export", "gen0/manifest.cgm.json", "--to", kind, "-o", "elsewhere.json")
    assert isinstance(done.exception, InputError)
    assert "must lie beside the manifest" in str(done.exception)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("text", ["{", "[]", None])
def test_a_result_that_cannot_be_read_is_unusable(text: str | None) -> None:
    if text is not None:
        Path("result.json").write_text(text)
    done = run("export", "own.cgm.json", "--to", "in-toto", "--result", "result.json")
    assert isinstance(done.exception, InputError)
    assert "result.json" in str(done.exception)


@pytest.mark.usefixtures("here")
def test_headers_follow_the_published_schema() -> None:
    schema = json.loads(run("schema", "manifest").stdout)
    assert schema == manifest_json_schema()
    validator = jsonschema.Draft202012Validator(schema)
    header = json.loads(Path("gen1/manifest.cgm.json").read_text())
    validator.validate(header)
    for key, value in (("generation", -1), ("root_digest", "md5:0"), ("unknown", 1)):
        assert not validator.is_valid(header | {key: value})


def test_the_shipped_schema_is_the_schema() -> None:
    assert json.loads((ROOT / "configs" / "manifest.schema.json").read_text()) == manifest_json_schema()
