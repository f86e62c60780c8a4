"""Ed25519 keys in PEM files, as ``openssl`` makes them; no other kind is taken.

A pair is made, and its public half taken out, by::

    openssl genpkey -algorithm ed25519 -aes256 -out key.pem
    openssl pkey -in key.pem -pubout -out key.pub.pem
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collapse_guard._optional import need
from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Where the passphrase of an encrypted key is looked for.
PASSPHRASE_VARIABLE: Final = "COLLAPSE_GUARD_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
MAX_BYTES: Final = 1 << 16
_MAKE: Final = "make one: openssl genpkey -algorithm ed25519 -out key.pem"
_TAKE: Final = "take it out with: openssl pkey -in key.pem -pubout -out key.pub.pem"
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_PRIVATE: Final = (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")


@dataclass(frozen=True)
class PublicKey:
    """A key that may have signed.

    Args:
        key: the key itself.
        keyid: SHA-256 over its canonical description, as securesystemslib names keys.
        path: the file that it came from.
    """

    key: Ed25519PublicKey = field(repr=False)
    keyid: str
    path: str = ""


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs; never shown."""

    key: Ed25519PrivateKey = field(repr=False)
    public: PublicKey


def load_private_key(path: str | PathLike[str], *, ask: Callable[[], str] | None = None) -> PrivateKey:
    """Return the key of a PEM file that signs.

    Args:
        path: the file.
        ask: returns the passphrase of an encrypted key if the environment does not hold it
            (``COLLAPSE_GUARD_KEY_PASSPHRASE``); called at most once.

    Raises InputError for a key that cannot be read, is public, or is not Ed25519; MissingExtraError without the extra
    ``sign``.
    """
    need("cryptography", extra="sign")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra

    data = _read(path, _MAKE)
    kinds = _kinds(data)
    if b"PUBLIC KEY" in kinds:
        raise InputError(f"{path}: a public key cannot sign; name the private one")
    if len(kinds) != 1 or kinds[0] not in _PRIVATE:
        raise _no_key(path, kinds, "one PRIVATE KEY (PKCS8)", _MAKE)
    loaded = _decrypted(path, data, ask, is_encrypted=kinds[0] != _PRIVATE[0])
    if not isinstance(loaded, Ed25519PrivateKey):
        raise _other_kind(path, loaded)
    return PrivateKey(loaded, _named(loaded.public_key(), path))


def load_public_keys(*paths: str | PathLike[str]) -> tuple[PublicKey, ...]:
    """Return every key of PEM files; a file may hold several, one after the other.

    Raises InputError for no key, for one that cannot be read, is private, or is not Ed25519; MissingExtraError without
    the extra ``sign``.
    """
    need("cryptography", extra="sign")
    found = [_public_key(path, block) for path in paths for block in _public_blocks(path)]
    if not found:
        raise InputError("no public key was given; name the key that must have signed")
    return tuple(found)


def keyid_of(raw: bytes) -> str:
    """Return the id of the public key whose 32 bytes are ``raw``.

    >>> keyid_of(bytes(32))[:16]
    '7f7373360bc914a5'
    """
    known = {"keytype": "ed25519", "keyval": {"public": raw.hex()}, "scheme": "ed25519"}
    return hashlib.sha256(json.dumps(known, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _public_blocks(path: str | PathLike[str]) -> list[bytes]:
    data = _read(path, _TAKE)
    kinds = _kinds(data)
    if any(kind in _PRIVATE for kind in kinds):
        raise InputError(f"{path}: a private key; who verifies must not hold it, name the public one: {_TAKE}")
    if not kinds or any(kind != b"PUBLIC KEY" for kind in kinds):
        raise _no_key(path, kinds, "PUBLIC KEY blocks", _TAKE)
    return [block.group() + b"\n" for block in _BLOCK.finditer(data)]


def _public_key(path: str | PathLike[str], block: bytes) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - an extra

    try:
        loaded = load_pem_public_key(block)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError(
            f"{path}: a public key that cannot be read; it was cut or changed, take it out again"
        ) from None
    if not isinstance(loaded, Ed25519PublicKey):
        raise _other_kind(path, loaded)
    return _named(loaded, path)


def _decrypted(path: str | PathLike[str], data: bytes, ask: Callable[[], str] | None, *, is_encrypted: bool) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - an extra

    phrase = _passphrase(path, ask) if is_encrypted else None
    try:
        return load_pem_private_key(data, phrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        fault = "the passphrase is wrong, or the key was changed" if is_encrypted else "it was cut or changed"
        raise InputError(f"{path}: a private key that cannot be read: {fault}") from None


def _passphrase(path: str | PathLike[str], ask: Callable[[], str] | None) -> bytes:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None and ask is not None:
        given = ask()
    if not given:
        raise InputError(f"{path}: the key is encrypted; set {PASSPHRASE_VARIABLE} to its passphrase")
    return given.encode("utf-8", "surrogateescape")


def _named(key: Ed25519PublicKey, path: str | PathLike[str]) -> PublicKey:
    return PublicKey(key, keyid_of(key.public_bytes_raw()), str(path))


def _kinds(data: bytes) -> list[bytes]:
    return [block.group(1) for block in _BLOCK.finditer(data)]


def _read(path: str | PathLike[str], remedy: str) -> bytes:
    target = Path(path)
    if os.path.isdir(target):  # noqa: PTH112 - unlike Path.is_dir it never raises
        raise InputError(f"{path}: is a directory; name the key file (PEM) in it")
    try:
        with target.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such key; {remedy}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 10} KiB; a key is a few lines of PEM")
    return data


def _no_key(path: str | PathLike[str], kinds: list[bytes], wanted: str, remedy: str) -> InputError:
    held = ", ".join(kind.decode() for kind in dict.fromkeys(kinds)) or "no PEM block"
    return InputError(f"{path}: expected {wanted} in PEM, found {held}; {remedy}")


def _other_kind(path: str | PathLike[str], key: object) -> InputError:
    kind = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").lstrip("_")
    return InputError(f"{path}: a key of the kind {kind}; manifests are signed with Ed25519, {_MAKE}")
