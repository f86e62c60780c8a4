"""Exports that other tools read, one of each kind; written again as :mod:`tests.golden.test_golden` says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collapse_guard.manifest import write_manifest
from collapse_guard.manifest.header import FileEntry
from collapse_guard.policy.yaml_text import yaml_text
from collapse_guard.report.exports import Publication, as_croissant, as_dvc, as_in_toto, card_text
from tests.report.exports.conftest import made

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest

HERE = Path(__file__).parent
WRITE = os.environ.get("COLLAPSE_GUARD_WRITE_GOLDEN") == "1"
PUBLICATION = Publication(license="CC0-1.0", url="https://example.org", creators=("A. Maker",), published="2026-01-31")
CARD = "---\nlicense: cc0-1.0  # of the owner\nlanguage_creators: [found]\n---\n# Rows\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    file = FileEntry(path="part one.parquet", bytes=10, digest=f"sha256:{'0' * 64}")
    return write_manifest(made("gen1", file), tmp_path / "gen1.cgm.json")


def without_bytes(found: Any) -> Any:
    """Return an export without the figures of the bytes of parts, which depend on the Parquet writer."""
    if isinstance(found, list):
        return [without_bytes(each) for each in found]
    if not isinstance(found, dict):
        return found
    name = str(found.get("name", found.get("path", "")))
    if name.endswith((".parquet", ".cgm.json", ".index")) and not str(found.get("@id", "")).startswith("data/"):
        found = {key: _masked(key, value) for key, value in found.items()}
    return {key: without_bytes(value) for key, value in found.items()}


def _masked(key: str, value: Any) -> Any:
    if key == "digest":
        return {name: "(of bytes)" if name == "sha256" else digest for name, digest in value.items()}
    return "(of bytes)" if key in {"sha256", "contentSize", "md5", "size"} else value


def compare(name: str, found: str) -> None:
    path = HERE / name
    if WRITE:
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8"), f"{name} differs"


def test_croissant(manifest: Manifest) -> None:
    found = without_bytes(as_croissant(manifest, PUBLICATION))
    compare("export_croissant.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("kind", ["manifest", "test_result"])
def test_in_toto(manifest: Manifest, kind: str) -> None:
    result = {
        "schema": "collapse-guard/result/1",
        "exit_code": 1,
        "policy_digest": f"sha256:{'7' * 64}",
        "manifest_digest": manifest.digest,
        "parent_digest": f"sha256:{'3' * 64}",
        "rules": [{"code": code, "title": ""} for code in ("CG101", "CG102", "CG201")],
        "unenforced_policy_keys": [],
        "findings": [
            {"code": "CG101", "severity": "error", "status": "fail"},
            {"code": "CG102", "severity": "warning", "status": "fail"},
        ],
    }
    found = without_bytes(as_in_toto(manifest, result if kind == "test_result" else None))
    compare(f"export_in_toto_{kind}.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def test_dvc(manifest: Manifest) -> None:
    compare("export.dvc.yaml", yaml_text(without_bytes(as_dvc(manifest))))


def test_card(manifest: Manifest) -> None:
    compare("export_card.md", card_text(manifest, CARD))
