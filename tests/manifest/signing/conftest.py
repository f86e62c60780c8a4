"""A manifest on disk, and keys as openssl writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collapse_guard.manifest.inventory import take_inventory

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A private key, and the files of both halves."""

    key: Ed25519PrivateKey
    private: Path
    public: Path


def write_pair(folder: Path, name: str, seed: int, phrase: bytes | None = None) -> Pair:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    lock = forms.NoEncryption() if phrase is None else forms.BestAvailableEncryption(phrase)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, lock))
    info = forms.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(forms.Encoding.PEM, info))
    return Pair(key, private, public)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return write_pair(tmp_path, "own", 1)


@pytest.fixture
def other(tmp_path: Path) -> Pair:
    return write_pair(tmp_path, "other", 2)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    data = tmp_path / "web"
    data.mkdir()
    (data / "rows.csv").write_text("text,label\na,cat\nb,dog\n")
    take_inventory(data, to=tmp_path / "gen4.cgm.json", source="web", origin="real", class_column="label")
    return tmp_path / "gen4.cgm.json"
