"""Keys in PEM: what openssl writes is taken, everything else is told on one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined] # it re-exports without saying so

from collapse_guard.errors import InputError, MissingExtraError
from collapse_guard.manifest.signing import PASSPHRASE_VARIABLE, load_private_key, load_public_keys
from tests.manifest.signing.conftest import Pair, write_pair

if TYPE_CHECKING:
    from pathlib import Path

PEM, PKCS8, INFO = forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.PublicFormat.SubjectPublicKeyInfo


def test_keys_are_named_as_securesystemslib_names_them(pair: Pair) -> None:
    (found,) = load_public_keys(pair.public)
    assert found.keyid == SSlibKey.from_crypto(pair.key.public_key()).keyid
    assert load_private_key(pair.private).public.keyid == found.keyid


def test_a_private_key_is_never_shown(pair: Pair) -> None:
    shown = repr(load_private_key(pair.private))
    assert "Ed25519PrivateKey" not in shown
    assert (bytes([1]) * 32).hex() not in shown


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("lock", [[], ["-aes256", "-pass", "pass:abc"]])
def test_keys_of_openssl_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: list[str]) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "abc")
    for command in (
        ["genpkey", "-algorithm", "ed25519", *lock, "-out", str(key)],
        ["pkey", "-in", str(key), "-passin", "pass:abc", "-pubout", "-out", str(public)],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=60)
    assert [load_private_key(key).public.keyid] == [each.keyid for each in load_public_keys(public)]


def test_the_passphrase_comes_from_the_environment_or_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = write_pair(tmp_path, "locked", 3, "päss".encode()).private
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    with pytest.raises(InputError, match=f"the key is encrypted; set {PASSPHRASE_VARIABLE}"):
        load_private_key(locked)
    load_private_key(locked, ask=lambda: "päss")
    with pytest.raises(InputError, match="the passphrase is wrong"):
        load_private_key(locked, ask=lambda: "pass")
    with pytest.raises(InputError, match="the key is encrypted"):
        load_private_key(locked, ask=lambda: "")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "päss")
    load_private_key(locked, ask=lambda: pytest.fail("asked in vain"))


def test_a_key_that_is_not_encrypted_needs_no_passphrase(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "of another key")
    load_private_key(pair.private, ask=lambda: pytest.fail("asked in vain"))


def others() -> dict[str, tuple[bytes, bytes]]:
    made: dict[str, rsa.RSAPrivateKey | ed448.Ed448PrivateKey | ec.EllipticCurvePrivateKey] = {
        "RSA": rsa.generate_private_key(65537, 2048),
        "Ed448": ed448.Ed448PrivateKey.generate(),
        "EC": ec.generate_private_key(ec.SECP256R1()),
    }
    lock = forms.NoEncryption()
    return {
        name: (key.private_bytes(PEM, PKCS8, lock), key.public_key().public_bytes(PEM, INFO))
        for name, key in made.items()
    }


def test_keys_of_another_kind_are_told(tmp_path: Path) -> None:
    for name, (private, public) in others().items():
        file = tmp_path / "key.pem"
        file.write_bytes(private)
        with pytest.raises(InputError, match=r"a key of the kind .*; manifests are signed with Ed25519") as caught:
            load_private_key(file)
        assert f"kind {name};" in str(caught.value)
        file.write_bytes(public)
        with pytest.raises(InputError, match="manifests are signed with Ed25519"):
            load_public_keys(file)


def test_the_wrong_half_is_told(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a public key cannot sign; name the private one"):
        load_private_key(pair.public)
    with pytest.raises(InputError, match=r"a private key; who verifies must not hold it.*-pubout"):
        load_public_keys(pair.private)
    both = tmp_path / "both.pem"
    both.write_bytes(pair.public.read_bytes() + pair.private.read_bytes())
    with pytest.raises(InputError, match="who verifies must not hold it"):
        load_public_keys(both)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "found no PEM block"),
        (b"\x00\xff" * 40, "found no PEM block"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAA\n-----END OPENSSH PRIVATE KEY-----\n", "found OPENSSH PRIVATE KEY"),
        (b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n", "found CERTIFICATE"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "public key"),
        (b"-----BEGIN PUBLIC KEY-----\n\xff\n-----END PUBLIC KEY-----\n", "public key"),
        (b"x" * (1 << 17), "larger than 64 KiB"),
    ],
)
def test_what_is_no_key_is_told(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(data)
    messages = []
    for load in (load_private_key, load_public_keys):
        with pytest.raises(InputError) as caught:
            load(file)
        messages.append(str(caught.value))
    assert all(said in message and len(message.splitlines()) == 1 for message in messages)


def test_paths_that_lead_to_no_key_are_told(tmp_path: Path) -> None:
    for load in (load_private_key, load_public_keys):
        with pytest.raises(InputError, match="is a directory"):
            load(tmp_path)
        with pytest.raises(InputError, match=r"no such key; .*: openssl"):
            load(tmp_path / "away.pem")
        with pytest.raises(InputError, match="cannot be read"):
            load("a\0b")
    with pytest.raises(InputError, match="no public key was given"):
        load_public_keys()


def test_without_the_extra_the_line_to_type_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for load, file in ((load_private_key, pair.private), (load_public_keys, pair.public)):
        with pytest.raises(MissingExtraError, match=r"pip install 'collapse-guard\[sign\]'"):
            load(file)
