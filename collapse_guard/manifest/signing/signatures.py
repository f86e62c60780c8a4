"""Sign a header; say who signed it, and whether it still is what was signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard._optional import need
from collapse_guard.errors import InputError, ManifestError, SignatureError
from collapse_guard.kernels import one_line
from collapse_guard.manifest.header import Header
from collapse_guard.manifest.manifest import header_bytes
from collapse_guard.manifest.signing.envelope import MAX_BYTES, PAYLOAD_TYPE, Envelope, strict_json
from collapse_guard.manifest.signing.keys import load_public_keys
from collapse_guard.manifest.signing.statement import (
    CONTENT_DIGEST,
    MANIFEST_PREDICATE,
    STATEMENT,
    manifest_statement,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from collapse_guard.manifest.signing.keys import PrivateKey, PublicKey

    StrPath = str | PathLike[str]

_SHOWN_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that holds.

    Args:
        keyid: id of the key.
        key_path: the file of the public key.
        header: what was signed, as it stands on disk.
    """

    keyid: str
    key_path: str
    header: Header

    @property
    def manifest_digest(self) -> str:
        """Digest of the content of the manifest."""
        return self.header.digest

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "keyid": self.keyid,
            "key": self.key_path,
            "digest": self.manifest_digest,
            "name": self.header.name,
            "generation": self.header.generation,
        }


def signature_path(manifest: StrPath) -> Path:
    """Return where the signature of a manifest is looked for.

    >>> signature_path("gen4/manifest.cgm.json").as_posix()
    'gen4/manifest.cgm.dsse.json'
    """
    path = Path(manifest)
    return path.parent / f"{path.name.removesuffix('.json')}.dsse.json"


def sign(data: bytes, key: PrivateKey, *, path: str) -> dict[str, Any]:
    """Return the signed envelope of a header, as plain values; the same header and key give the same envelope.

    Args:
        data: the bytes of the header file.
        key: what signs.
        path: the header file; its name stands in the statement, and does not matter to who verifies.

    Raises ManifestError for bytes that are no header.
    """
    statement = manifest_statement(Header.from_json(data, path=path), data, name=one_line(Path(path).name))
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    unsigned = Envelope(payload, PAYLOAD_TYPE, ())
    signature = key.key.sign(unsigned.signed_bytes)
    return Envelope(payload, PAYLOAD_TYPE, ((key.public.keyid, signature),)).as_dict()


def verify(envelope: Any, data: bytes, keys: Sequence[PublicKey], *, path: str, signature: str = "") -> Signature:
    """Return the signature of a header that one of ``keys`` made.

    Args:
        envelope: the envelope, as plain values.
        data: the bytes of the header file.
        keys: who may have signed; key ids are hints alone, and every key is tried.
        path: name of the header file in messages.
        signature: name of the envelope's file in messages; that of the header's signature if left out.

    Raises SignatureError if none of them signed, or if it is another manifest, or one that was changed since;
    ManifestError for what is no envelope or no header.
    """
    file = signature or str(signature_path(path))
    opened = Envelope.from_dict(envelope, path=file)
    if opened.payload_type != PAYLOAD_TYPE:
        text = f"{file}: a signature of {one_line(opened.payload_type)[:60]!r}, expected {PAYLOAD_TYPE!r}"
        raise SignatureError(f"{text}; sign the manifest: {_command(path)}", path=file)
    signer = _signer(opened, keys, file)
    header = Header.from_json(data, path=path)
    _check_subject(_statement(opened.payload, file), header, data, path)
    return Signature(signer.keyid, signer.path, header)


def sign_manifest(manifest: StrPath, key: PrivateKey, to: StrPath | None = None, *, is_added: bool = False) -> Path:
    """Sign a manifest on disk; returns the file of the signature, beside the manifest unless ``to`` names another.

    Args:
        manifest: the header file.
        key: what signs.
        to: the file to write.
        is_added: keep what other keys have signed of this same header.

    Raises ManifestError for what is no manifest, and with ``is_added`` for a file that is no signature or of another
    header.
    """
    path = Path(manifest)
    target = signature_path(path) if to is None else Path(to)
    if os.path.realpath(target) == os.path.realpath(path):
        raise InputError(f"{target}: is the manifest itself; name another file for its signature")
    plain = sign(header_bytes(path), key, path=str(path))
    if is_added and target.exists():
        plain = _with_others(plain, Envelope.from_json(_read(target), path=str(target)), target)
    write_bytes(target, (json.dumps(plain, indent=2) + "\n").encode())
    return target


def require_signature(
    manifest: StrPath, key: StrPath | Sequence[StrPath], *, signature: StrPath | None = None, digest: str | None = None
) -> Signature:
    """Return the signature of a manifest on disk, which one of the keys must have made.

    Args:
        manifest: the header file.
        key: PEM file with one public key or several, or such files.
        signature: the file of the signature; beside the manifest if left out.
        digest: content digest of the manifest as it was read before; another one now is an error.

    Raises SignatureError for a manifest that is not signed, is signed by another key, or was changed since;
    ManifestError and InputError for files that cannot be read; MissingExtraError without the extra ``sign``.
    """
    keys = load_public_keys(*([key] if isinstance(key, (str, os.PathLike)) else key))
    path = Path(manifest)
    data = header_bytes(path)
    beside = signature_path(path)
    if signature is None and not os.path.lexists(beside):
        raise SignatureError(f"{path}: not signed, there is no {beside}; sign it: {_command(path)}", path=path)
    file = beside if signature is None else Path(signature)
    envelope = strict_json(_read(file), path=str(file))
    found = verify(envelope, data, keys, path=str(path), signature=str(file))
    if digest is not None and found.manifest_digest != digest:
        raise SignatureError(f"{path}: was changed while it was checked; check it again", path=path)
    return found


def _signer(envelope: Envelope, keys: Sequence[PublicKey], file: str) -> PublicKey:
    """Return the first key that made one of the signatures; raises SignatureError that says what came instead."""
    need("cryptography", extra="sign")
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

    signed = envelope.signed_bytes
    for key in keys:
        for _, signature in envelope.signatures:
            try:
                key.key.verify(signature, signed)
            except InvalidSignature:
                continue
            return key
    given, told = [key.keyid for key in keys], [keyid for keyid, _ in envelope.signatures]
    if set(given) & set(told):
        raise SignatureError(f"{file}: the signature is false: it was changed, or what it signs was", path=file)
    text = f"{file}: signed by {_listed(told)}, not by {_listed(given)}"
    raise SignatureError(f"{text}; name that key, or sign the manifest with yours", path=file)


def _statement(payload: bytes, file: str) -> dict[str, Any]:
    """Return the statement of a payload whose signer is known."""
    statement = strict_json(payload, path=file)
    kinds = [statement.get(key) for key in ("_type", "predicateType")] if isinstance(statement, dict) else [None, None]
    if kinds != [STATEMENT, MANIFEST_PREDICATE]:
        said = one_line(repr(kinds[1])[:60])
        text = f"{file}: what is signed is no statement of a manifest (predicateType {said})"
        raise SignatureError(f"{text}; an attested result, for one, does not sign its manifest", path=file)
    return dict(statement)


def _check_subject(statement: dict[str, Any], header: Header, data: bytes, path: str) -> None:
    """Raise SignatureError unless the statement is about this header, byte for byte."""
    content, whole = header.digest.removeprefix("sha256:"), hashlib.sha256(data).hexdigest()
    subjects = statement.get("subject")
    digests = [each.get("digest") for each in subjects if isinstance(each, dict)] if isinstance(subjects, list) else []
    signed = [digest for digest in digests if isinstance(digest, dict) and CONTENT_DIGEST in digest]
    if any(_is(each, CONTENT_DIGEST, content) and _is(each, "sha256", whole) for each in signed):
        return
    if any(_is(each, CONTENT_DIGEST, content) for each in signed):
        text = "its rows are what was signed, its header is not (date, tool, files, or layout)"
    else:
        text = "it is another manifest, or was changed since"
    raise SignatureError(f"{path}: not what was signed: {text}; restore it, or sign it: {_command(path)}", path=path)


def _is(digest: dict[str, Any], key: str, expected: str) -> bool:
    found = digest.get(key)
    return isinstance(found, str) and hmac.compare_digest(found.encode("utf-8", "surrogatepass"), expected.encode())


def _with_others(plain: dict[str, Any], there: Envelope, target: Path) -> dict[str, Any]:
    """Return the envelope with the signatures of other keys that a file holds over the same statement."""
    new = Envelope.from_dict(plain, path=str(target))
    if (there.payload_type, there.payload) != (new.payload_type, new.payload):
        text = f"{target}: signs another header, or is about another name; remove it, or leave out --add"
        raise ManifestError(text, path=target)
    own = {keyid for keyid, _ in new.signatures}
    others = tuple(each for each in there.signatures if each[0] not in own)
    return Envelope(new.payload, new.payload_type, (*others, *new.signatures)).as_dict()


def _read(path: Path) -> bytes:
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir it never raises
        raise ManifestError(f"{path}: is a directory; name the file of the signature in it", path=path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such signature; sign the manifest, or correct the path", path=path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"{path}: cannot be read: {reason}", path=path) from None
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{path}: larger than {MAX_BYTES >> 20} MiB; is it a signature?", path=path)
    return data


def _listed(keyids: Sequence[str]) -> str:
    shown = [f"key {one_line(keyid)[:_SHOWN_DIGITS]}" if keyid else "a key without id" for keyid in keyids[:3]]
    return ", ".join([*shown, "..."] if len(keyids) > len(shown) else shown)


def _command(path: StrPath) -> str:
    return f"collapse-guard manifest sign {path} --key KEY.pem"
