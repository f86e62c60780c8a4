"""Signatures of manifests: securesystemslib takes ours, we take its; whatever a reviewer reads cannot change."""

from __future__ import annotations

import base64
import copy
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey  # type: ignore[attr-defined] # re-exported without saying so

from collapse_guard.errors import InputError, ManifestError, SignatureError
from collapse_guard.manifest import load_manifest
from collapse_guard.manifest.signing import (
    load_private_key,
    load_public_keys,
    require_signature,
    sign,
    sign_manifest,
    signature_path,
    verify,
)
from collapse_guard.manifest.signing.envelope import PAYLOAD_TYPE, pre_authentication_encoding
from collapse_guard.manifest.signing.statement import CONTENT_DIGEST, MANIFEST_PREDICATE, STATEMENT
from collapse_guard.report.exports import as_in_toto

if TYPE_CHECKING:
    from pathlib import Path

    from tests.manifest.signing.conftest import Pair


def theirs(pair: Pair) -> Key:
    return SSlibKey.from_crypto(pair.key.public_key())


def envelope(manifest: Path, pair: Pair) -> dict[str, Any]:
    return sign(manifest.read_bytes(), load_private_key(pair.private), path=str(manifest))


def payload(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(plain["payload"]))
    return found


def signed_by_them(pair: Pair, statement: Any, kind: str = PAYLOAD_TYPE) -> dict[str, Any]:
    made = TheirEnvelope(json.dumps(statement).encode(), kind, {})
    made.sign(CryptoSigner(pair.key))
    found: dict[str, Any] = made.to_dict()
    return found


def test_what_is_signed_is_a_statement_about_the_header(manifest: Path, pair: Pair) -> None:
    statement = payload(envelope(manifest, pair))
    exported = as_in_toto(load_manifest(manifest))
    assert statement["_type"] == STATEMENT
    assert statement["subject"] == exported["subject"][:1]
    assert statement["predicateType"] == exported["predicateType"]
    assert statement["predicate"] == exported["predicate"]


def test_the_same_header_and_key_give_the_same_bytes(manifest: Path, pair: Pair) -> None:
    key = load_private_key(pair.private)
    first = sign_manifest(manifest, key).read_bytes()
    assert sign_manifest(manifest, key).read_bytes() == first
    assert signature_path(manifest).name == "gen4.cgm.dsse.json"


def test_securesystemslib_takes_our_signature(manifest: Path, pair: Pair, other: Pair) -> None:
    ours = TheirEnvelope.from_dict(copy.deepcopy(envelope(manifest, pair)))
    assert list(ours.verify([theirs(pair)], 1)) == [theirs(pair).keyid]
    assert ours.pae() == pre_authentication_encoding(ours.payload_type, ours.payload)
    with pytest.raises(VerificationError):
        ours.verify([theirs(other)], 1)


def test_we_take_the_signature_of_securesystemslib(manifest: Path, pair: Pair, other: Pair) -> None:
    statement = as_in_toto(load_manifest(manifest))
    plain = signed_by_them(pair, statement)
    found = verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))
    assert found.keyid == theirs(pair).keyid == plain["signatures"][0]["keyid"]
    assert found.manifest_digest == load_manifest(manifest).digest
    with pytest.raises(SignatureError, match="signed by key"):
        verify(plain, manifest.read_bytes(), load_public_keys(other.public), path=str(manifest))


@pytest.mark.parametrize("keyid", ["", None, "another name", "\ud800"])
def test_a_key_id_is_a_hint_alone(manifest: Path, pair: Pair, keyid: str | None) -> None:
    plain = envelope(manifest, pair)
    plain["signatures"][0]["keyid"] = keyid
    verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))
    del plain["signatures"][0]["keyid"]
    verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))


def test_url_safe_base64_is_taken(manifest: Path, pair: Pair) -> None:
    plain = envelope(manifest, pair)
    plain["payload"] = base64.urlsafe_b64encode(base64.b64decode(plain["payload"])).decode()
    plain["signatures"][0]["sig"] = base64.urlsafe_b64encode(base64.b64decode(plain["signatures"][0]["sig"])).decode()
    verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"created": "', '"created": "1', "its rows are what was signed, its header is not"),
        ('"tool": "', '"tool": "other ', "its rows are what was signed, its header is not"),
        ('"path": "rows.csv"', '"path": "cows.csv"', "its rows are what was signed, its header is not"),
        ('"generation": 0', '"generation":  0', "its rows are what was signed, its header is not"),
        ('"generation": 0', '"generation": 1', "it is another manifest, or was changed since"),
        ('"origin": "real"', '"origin": "derived"', "it is another manifest, or was changed since"),
    ],
)
def test_any_change_of_the_header_is_told(manifest: Path, pair: Pair, before: str, after: str, said: str) -> None:
    sign_manifest(manifest, load_private_key(pair.private))
    text = manifest.read_text()
    assert before in text
    manifest.write_text(text.replace(before, after))
    with pytest.raises(SignatureError, match=said) as caught:
        require_signature(manifest, pair.public)
    assert len(str(caught.value).splitlines()) == 1
    manifest.write_text(text)
    require_signature(manifest, pair.public)


def test_every_byte_of_an_envelope_counts(manifest: Path, pair: Pair) -> None:
    plain, keys = envelope(manifest, pair), load_public_keys(pair.public)
    raw, signature = base64.b64decode(plain["payload"]), base64.b64decode(plain["signatures"][0]["sig"])
    assert len(signature) == 64
    for place in range(0, len(raw), 37):
        changed = plain | {"payload": _flipped(raw, place)}
        with pytest.raises(SignatureError, match="the signature is false"):
            verify(changed, manifest.read_bytes(), keys, path=str(manifest))
    for place in range(64):
        changed = plain | {"signatures": [{"keyid": keys[0].keyid, "sig": _flipped(signature, place)}]}
        with pytest.raises(SignatureError, match="the signature is false"):
            verify(changed, manifest.read_bytes(), keys, path=str(manifest))


def _flipped(data: bytes, place: int) -> str:
    return base64.b64encode(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]).decode()


@pytest.mark.parametrize("sig", ["", "AA==", "A" * 88, base64.b64encode(bytes(64)).decode()])
def test_a_signature_of_another_length_or_of_nothing_is_false(manifest: Path, pair: Pair, sig: str) -> None:
    plain = envelope(manifest, pair) | {"signatures": [{"sig": sig}]}
    with pytest.raises(SignatureError, match="signed by a key without id, not by key"):
        verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))


@pytest.mark.parametrize(
    "change",
    [
        {"predicateType": "https://in-toto.io/attestation/test-result/v0.1"},
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": "all"},
        {"subject": [{"name": "gen4.cgm.json"}]},
        {"subject": [{"name": "gen4.cgm.json", "digest": {CONTENT_DIGEST: 3, "sha256": None}}]},
    ],
)
def test_a_good_signature_of_something_else_does_not_count(manifest: Path, pair: Pair, change: dict[str, Any]) -> None:
    plain = signed_by_them(pair, as_in_toto(load_manifest(manifest)) | change)
    with pytest.raises(SignatureError):
        verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))


@pytest.mark.parametrize("statement", [[], None, 3, "text", {}])
def test_a_payload_that_is_no_statement_is_told(manifest: Path, pair: Pair, statement: Any) -> None:
    plain = signed_by_them(pair, statement)
    with pytest.raises(SignatureError, match="no statement of a manifest"):
        verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))


def test_both_digests_must_be_of_one_subject(manifest: Path, pair: Pair) -> None:
    header = as_in_toto(load_manifest(manifest))["subject"][0]["digest"]
    split = [
        {"name": "a", "digest": {CONTENT_DIGEST: header[CONTENT_DIGEST], "sha256": "0" * 64}},
        {"name": "b", "digest": {"sha256": header["sha256"]}},
    ]
    statement = {"_type": STATEMENT, "predicateType": MANIFEST_PREDICATE, "predicate": {}, "subject": split}
    with pytest.raises(SignatureError, match="its header is not"):
        verify(signed_by_them(pair, statement), manifest.read_bytes(), load_public_keys(pair.public), path="m")


def test_a_payload_of_another_type_is_told(manifest: Path, pair: Pair) -> None:
    plain = signed_by_them(pair, as_in_toto(load_manifest(manifest)), "text/plain")
    with pytest.raises(SignatureError, match="a signature of 'text/plain'"):
        verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))
    plain["payloadType"] = PAYLOAD_TYPE  # the type is signed too
    with pytest.raises(SignatureError, match="the signature is false"):
        verify(plain, manifest.read_bytes(), load_public_keys(pair.public), path=str(manifest))


def test_one_of_several_signatures_and_keys_is_enough(manifest: Path, pair: Pair, other: Pair) -> None:
    both = load_public_keys(pair.public, other.public)
    for signer in (pair, other):
        found = verify(envelope(manifest, signer), manifest.read_bytes(), both, path=str(manifest))
        assert found.key_path == str(signer.public)
    sign_manifest(manifest, load_private_key(pair.private))
    file = sign_manifest(manifest, load_private_key(other.private), is_added=True)
    sign_manifest(manifest, load_private_key(other.private), is_added=True)
    plain = json.loads(file.read_text())
    assert [each["keyid"] for each in plain["signatures"]] == [theirs(pair).keyid, theirs(other).keyid]
    assert len(TheirEnvelope.from_dict(plain).verify([theirs(pair), theirs(other)], 2)) == 2
    for signer in (pair, other):
        require_signature(manifest, signer.public)
    sign_manifest(manifest, load_private_key(other.private))
    with pytest.raises(SignatureError, match="not by key"):
        require_signature(manifest, pair.public)


def test_a_file_may_hold_several_public_keys(manifest: Path, pair: Pair, other: Pair, tmp_path: Path) -> None:
    keys = tmp_path / "keys.pem"
    keys.write_bytes(b"# ours\n" + other.public.read_bytes() + b"\r\n" + pair.public.read_bytes())
    sign_manifest(manifest, load_private_key(pair.private))
    assert require_signature(manifest, keys).keyid == theirs(pair).keyid


def test_signatures_of_another_header_are_not_kept(manifest: Path, pair: Pair, other: Pair) -> None:
    sign_manifest(manifest, load_private_key(pair.private))
    before = signature_path(manifest).read_bytes()
    manifest.write_text(manifest.read_text().replace('"created": "', '"created": "1'))
    with pytest.raises(ManifestError, match="signs another header"):
        sign_manifest(manifest, load_private_key(other.private), is_added=True)
    assert signature_path(manifest).read_bytes() == before


def test_a_manifest_that_is_not_signed_is_told(manifest: Path, pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"not signed, there is no .*gen4\.cgm\.dsse\.json"):
        require_signature(manifest, pair.public)
    with pytest.raises(ManifestError, match="no such signature") as caught:
        require_signature(manifest, pair.public, signature=tmp_path / "away.json")
    assert not isinstance(caught.value, SignatureError)
    with pytest.raises(ManifestError, match="no such file"):
        require_signature(tmp_path / "away.cgm.json", pair.public)


def test_a_manifest_that_changes_while_it_is_checked_is_told(manifest: Path, pair: Pair) -> None:
    sign_manifest(manifest, load_private_key(pair.private))
    require_signature(manifest, pair.public, digest=load_manifest(manifest).digest)
    with pytest.raises(SignatureError, match="changed while it was checked"):
        require_signature(manifest, pair.public, digest=f"sha256:{'0' * 64}")


GOOD: dict[str, Any] = {"payload": "e30=", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": "AA=="}]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "an envelope is a JSON object"),
        ("null", "an envelope is a JSON object"),
        ("\ufffe", "not JSON"),
        ('{"payload": NaN}', "NaN is no JSON number"),
        ('{"payload": "", "payload": ""}', "a key stands twice"),
        ("[" * 100_000, "not JSON"),
        (json.dumps(GOOD | {"payload": "*"}), "/payload must be base64"),
        (json.dumps(GOOD | {"payload": "ä"}), "/payload must be base64"),
        (json.dumps(GOOD | {"payload": 3}), "/payload must be base64"),
        (json.dumps(GOOD | {"payloadType": None}), "/payloadType must be text"),
        (json.dumps(GOOD | {"signatures": []}), "/signatures must be a list of 1 to 64"),
        (json.dumps(GOOD | {"signatures": [{"sig": "AA=="}] * 65}), "/signatures must be a list of 1 to 64"),
        (json.dumps(GOOD | {"signatures": ["x"]}), "/signatures/0 must be an object with sig"),
        (json.dumps(GOOD | {"signatures": [{"sig": "AA==", "keyid": []}, {}]}), "/signatures/1 must be an object"),
        (json.dumps(GOOD | {"signatures": [{"sig": "AA==", "keyid": 7}]}), "/signatures/0/keyid must be text"),
        (json.dumps(GOOD | {"signatures": [{"sig": "A"}]}), "/signatures/0/sig must be base64"),
        (json.dumps({"payloadType": "a\nb", "signatures": []}), "/payload is missing"),
        ("x" * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_what_is_no_envelope_is_told_on_one_line(manifest: Path, pair: Pair, text: str, said: str) -> None:
    signature_path(manifest).write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ManifestError, match=said) as caught:
        require_signature(manifest, pair.public)
    assert not isinstance(caught.value, SignatureError)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_bytes_that_are_no_text_are_told(manifest: Path, pair: Pair) -> None:
    signature_path(manifest).write_bytes(b'{"payload": "\xff"}')
    with pytest.raises(ManifestError, match="not UTF-8"):
        require_signature(manifest, pair.public)


def test_folders_and_links_that_lead_nowhere_are_told(manifest: Path, pair: Pair, tmp_path: Path) -> None:
    signature_path(manifest).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="no such signature"):
        require_signature(manifest, pair.public)
    with pytest.raises(ManifestError, match="is a directory"):
        require_signature(manifest, pair.public, signature=tmp_path)
    with pytest.raises(ManifestError, match="cannot be read"):
        require_signature(manifest, pair.public, signature="a\0b")


def test_a_signature_does_not_overwrite_its_manifest(manifest: Path, pair: Pair, tmp_path: Path) -> None:
    before = manifest.read_bytes()
    link = tmp_path / "link.json"
    link.symlink_to(manifest)
    for target in (manifest, link):
        with pytest.raises(InputError, match="is the manifest itself"):
            sign_manifest(manifest, load_private_key(pair.private), target)
    assert manifest.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_a_file_name_that_is_no_text_can_be_signed(manifest: Path, pair: Pair) -> None:
    odd = manifest.with_name(os.fsdecode(b"gen\xff\n4.cgm.json"))
    manifest.rename(odd)
    file = sign_manifest(odd, load_private_key(pair.private))
    require_signature(odd, pair.public)
    assert payload(json.loads(file.read_text()))["subject"][0]["name"] == "gen\\udcff\\n4.cgm.json"
