"""The Croissant export, held against mlcroissant and an RDF parser."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import mlcroissant
import pytest
import rdflib
from mlcroissant import ValidationError
from rdflib.namespace import PROV, RDF

from collapse_guard.errors import ManifestError
from collapse_guard.manifest import Manifest, manifest_of, shard_of, write_manifest
from collapse_guard.manifest.header import FileEntry
from collapse_guard.manifest.inventory import take_inventory
from collapse_guard.report.exports import Publication, as_croissant
from collapse_guard.report.exports.croissant import NAMESPACE, urn
from tests.report.exports.conftest import GENERATOR, PARENT, index_rows, made

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [  # of rdflib's own parser, and of mlcroissant's use of pandas
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib.*"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index.*"),
]

FULL = Publication(
    license="CC0-1.0",
    url="https://example.org/rows",
    creators=("The makers",),
    published="2026-01-31",
    citation="@misc{rows}",
    data_url="https://example.org/files/",
)
CG = rdflib.Namespace(NAMESPACE)
LABEL = rdflib.URIRef("http://www.w3.org/ns/prov#label")


def described(manifest: Manifest, publication: Publication = FULL) -> mlcroissant.Dataset:
    assert manifest.path is not None
    path = manifest.path.with_name("croissant.json")
    path.write_text(json.dumps(as_croissant(manifest, publication)), encoding="utf-8")
    return mlcroissant.Dataset(jsonld=path)


def graph_of(manifest: Manifest) -> rdflib.Graph:
    graph = rdflib.Graph()
    graph.parse(data=json.dumps(as_croissant(manifest, FULL)), format="json-ld")
    return graph


def test_mlcroissant_finds_nothing_to_say(on_disk: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = described(on_disk)
    assert dataset.metadata.issues.errors == set()
    assert dataset.metadata.issues.warnings == set()
    assert "@context" not in caplog.text  # "is not standard"
    assert dataset.metadata.ctx.is_v1_1()
    assert dataset.metadata.name == "gen1 \u00fc"


def test_mlcroissant_reads_the_rows_of_the_index(on_disk: Manifest) -> None:
    found = list(described(on_disk).records("rows"))
    columns = on_disk.index.schema.names
    plain = [
        {name: value.decode() if isinstance(value := record[f"rows/{name}"], bytes) else value for name in columns}
        for record in found
    ]
    expected = on_disk.index.to_pylist()
    assert sorted(plain, key=str) == sorted(expected, key=str)


def test_provenance_is_in_prov_terms(on_disk: Manifest) -> None:
    graph = graph_of(on_disk)
    dataset = rdflib.URIRef(urn(on_disk.digest))
    assert list(graph.objects(dataset, PROV.wasDerivedFrom)) == [rdflib.URIRef(urn(PARENT.digest))]
    (agent,) = graph.objects(dataset, PROV.wasAttributedTo)
    assert (agent, RDF.type, PROV.SoftwareAgent) in graph
    assert str(graph.value(agent, LABEL)) == GENERATOR
    activities = list(graph.objects(dataset, PROV.wasGeneratedBy))
    assert len(activities) == 2
    assert [graph.value(each, PROV.wasAssociatedWith) for each in activities].count(agent) == 1


def test_our_figures_stand_in_a_namespace_of_their_own(on_disk: Manifest) -> None:
    graph = graph_of(on_disk)
    dataset = rdflib.URIRef(urn(on_disk.digest))
    figures = graph.value(dataset, CG.originRows)
    assert int(str(graph.value(figures, CG.real))) == 5
    assert int(str(graph.value(figures, CG.synthetic))) == 3
    assert float(str(graph.value(dataset, CG.realShare))) == 5 / 8
    assert str(graph.value(dataset, CG.digest)) == on_disk.digest
    sources = {str(graph.value(each, LABEL)) for each in graph.objects(dataset, CG.dataSource)}
    assert sources == {"web", "own, odd \u00e9"}


def test_data_files_carry_the_digest_of_their_bytes(tmp_path: Path) -> None:
    data = tmp_path / "corpus" / "part one.csv"
    data.parent.mkdir()
    data.write_text("text\na\nb\n")
    manifest = take_inventory(
        data.parent, to=tmp_path / "gen0.cgm.json", source="web", origin="synthetic", generator="m@1"
    )
    (entry,) = [each for each in as_croissant(manifest, FULL)["distribution"] if each["@id"].startswith("data/")]
    assert entry["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert entry["contentSize"] == f"{data.stat().st_size} B"
    assert entry["contentUrl"] == "https://example.org/files/part%20one.csv"
    assert entry["encodingFormat"] == "text/csv"
    assert entry["prov:wasGeneratedBy"] == [{"@id": "urn:collapse-guard:generation-by:m%401"}]
    assert described(manifest).metadata.issues.errors == set()


def test_parts_carry_the_digest_of_their_bytes(on_disk: Manifest) -> None:
    assert on_disk.path is not None
    parts = [each for each in as_croissant(on_disk)["distribution"] if each["@id"].startswith("parts/")]
    files = {path.name: path for path in on_disk.path.with_name("gen 1 [x].index").iterdir()}
    assert {each["name"] for each in parts} == set(files)
    for each in parts:
        assert each["sha256"] == hashlib.sha256(files[each["name"]].read_bytes()).hexdigest()
        assert each["contentSize"] == f"{files[each['name']].stat().st_size} B"


def test_a_part_that_is_stored_elsewhere_is_listed_without_its_size(on_disk: Manifest) -> None:
    for shard in on_disk.shards:
        assert shard.path is not None
        shard.path.unlink()
    parts = [each for each in as_croissant(on_disk)["distribution"] if each["@id"].startswith("parts/")]
    assert len(parts) == 2
    assert all("contentSize" not in each and len(each["sha256"]) == 64 for each in parts)


def test_a_folder_of_pictures_is_a_set_of_files(tmp_path: Path) -> None:
    files = [FileEntry(path=path, bytes=1, digest=f"sha256:{'5' * 64}") for path in ("cats%3Abig", "x.csv")]
    shards = [
        shard_of(index_rows([{"id": n}]), name=f"web#{n}", file=file) for n, file in enumerate([*files, files[0]])
    ]
    manifest = write_manifest(manifest_of(shards, name="gen0", generation=0), tmp_path / "gen0.cgm.json")
    found = {each["@id"]: each for each in as_croissant(manifest, FULL)["distribution"] if "data/" in each["@id"]}
    assert set(found) == {"data/cats%3Abig", "data/x.csv"}
    folder: dict[str, Any] = found["data/cats%3Abig"]
    assert (folder["@type"], folder["includes"]) == ("cr:FileSet", "cats:big/*")
    assert folder["cg:digest"] == files[0].digest
    assert described(manifest).metadata.issues.errors == set()


def test_two_files_of_one_path_have_names_of_their_own(tmp_path: Path) -> None:
    files = [FileEntry(path="x.csv", bytes=1, digest=f"sha256:{digit * 64}") for digit in "56"]
    shards = [shard_of(index_rows([{"id": n}]), name=f"web#{n}", file=file) for n, file in enumerate(files)]
    manifest = write_manifest(manifest_of(shards, name="gen0", generation=0), tmp_path / "gen0.cgm.json")
    ids = [each["@id"] for each in as_croissant(manifest)["distribution"]]
    assert {"data/555555555555/x.csv", "data/666666666666/x.csv"} <= set(ids)
    assert described(manifest).metadata.issues.errors == set()


def test_what_is_not_known_is_left_out_and_named(on_disk: Manifest) -> None:
    found = as_croissant(on_disk)
    assert not {"license", "url", "creator", "datePublished", "citeAs"} & set(found)
    assert Publication().missing() == ("license", "url", "creators", "published")


def test_mlcroissant_refuses_a_description_that_lacks_its_files(on_disk: Manifest) -> None:
    broken = as_croissant(on_disk, FULL)
    broken["distribution"] = [each for each in broken["distribution"] if each["@id"] != "parts"]
    with pytest.raises(ValidationError):
        mlcroissant.Dataset(jsonld=broken)


def test_a_manifest_in_memory_is_refused() -> None:
    with pytest.raises(ManifestError, match="write it first"):
        as_croissant(made("gen1"))


def test_an_export_is_a_value_of_its_own(on_disk: Manifest) -> None:
    as_croissant(on_disk)["@context"]["@base"] = "changed"
    assert "@base" not in as_croissant(on_disk)["@context"]
