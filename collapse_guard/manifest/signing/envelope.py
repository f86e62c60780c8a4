"""DSSE: bytes of a stated type, with signatures over both; nothing is parsed before it is known who signed it.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md (version 1.0).
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from collapse_guard.errors import ManifestError
from collapse_guard.kernels import one_line

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
#: An envelope about one header is a page.
MAX_BYTES: Final = 4 << 20
MAX_SIGNATURES: Final = 64
_URL_SAFE: Final = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and who signed it, none of it believed yet.

    Args:
        payload: the signed bytes.
        payload_type: what they are.
        signatures: (key id, signature); the key id is a hint, and may be empty.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def signed_bytes(self) -> bytes:
        """What signatures are over."""
        return pre_authentication_encoding(self.payload_type, self.payload)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as written to JSON."""
        signatures = [{"keyid": keyid, "sig": _encoded(signature)} for keyid, signature in self.signatures]
        return {"payload": _encoded(self.payload), "payloadType": self.payload_type, "signatures": signatures}

    @classmethod
    def from_dict(cls, plain: Any, *, path: str) -> Envelope:
        """Return the envelope of plain values, which may have further keys; raises ManifestError for what is none."""
        payload, kind, listed = (_of(plain, key, path) for key in ("payload", "payloadType", "signatures"))
        if not isinstance(kind, str):
            raise _fault(path, f"/payloadType must be text, got {_shown(kind)}")
        if not isinstance(listed, list) or not 0 < len(listed) <= MAX_SIGNATURES:
            raise _fault(path, f"/signatures must be a list of 1 to {MAX_SIGNATURES} signatures, got {_shown(listed)}")
        signatures = tuple(_signature(each, number, path) for number, each in enumerate(listed))
        return cls(_decoded(payload, "payload", path), kind, signatures)

    @classmethod
    def from_json(cls, data: bytes, *, path: str) -> Envelope:
        """Return the envelope of a file's bytes; raises ManifestError for what is none."""
        if len(data) > MAX_BYTES:
            raise _fault(path, f"larger than {MAX_BYTES >> 20} MiB")
        return cls.from_dict(strict_json(data, path=path), path=path)


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return type and payload as the bytes that are signed; no other pair has the same.

    >>> pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode("utf-8", "surrogatepass")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def strict_json(data: bytes, *, path: str) -> Any:
    """Return the value of JSON in UTF-8 without NaN and without a key that stands twice; raises ManifestError."""
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _fault(path, f"not UTF-8 (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise _fault(path, f"not JSON ({one_line(str(error))})") from None


def _of(plain: Any, key: str, path: str) -> Any:
    if not isinstance(plain, dict):
        raise _fault(path, f"an envelope is a JSON object, got {_shown(plain)}")
    if key not in plain:
        raise _fault(path, f"/{key} is missing")
    return plain[key]


def _signature(plain: Any, number: int, path: str) -> tuple[str, bytes]:
    where = f"signatures/{number}"
    if not isinstance(plain, dict) or "sig" not in plain:
        raise _fault(path, f"/{where} must be an object with sig, got {_shown(plain)}")
    keyid = plain.get("keyid") or ""
    if not isinstance(keyid, str):
        raise _fault(path, f"/{where}/keyid must be text, got {_shown(keyid)}")
    return keyid, _decoded(plain["sig"], f"{where}/sig", path)


def _decoded(text: Any, where: str, path: str) -> bytes:
    """Return the bytes of base64, of either alphabet, as the protocol asks of who verifies."""
    if not isinstance(text, str):
        raise _fault(path, f"/{where} must be base64, got {_shown(text)}")
    try:
        return base64.b64decode(text.translate(_URL_SAFE).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise _fault(path, f"/{where} must be base64, got {_shown(text)}") from None


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return plain


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _shown(value: Any) -> str:
    return one_line(repr(value)[:60])


def _fault(path: str, text: str) -> ManifestError:
    return ManifestError(f"{path}: not a signature: {text}; sign the manifest again", path=path)
