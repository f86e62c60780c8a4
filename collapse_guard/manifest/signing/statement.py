"""The in-toto Statement v1 about a manifest: which header, and what it says in short.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.manifest.figures import generators, origin_rows, real_share

if TYPE_CHECKING:
    from collapse_guard.manifest.header import Header

STATEMENT: Final = "https://in-toto.io/Statement/v1"
#: Predicate of a statement that sums a manifest up, in the words of this package.
MANIFEST_PREDICATE: Final = "urn:collapse-guard:attestation:manifest:v1"
#: Name of a digest that is not over the bytes of a file, as ``gitCommit`` is not.
CONTENT_DIGEST: Final = "collapseGuardManifest"


def manifest_statement(header: Header, data: bytes, *, name: str) -> dict[str, Any]:
    """Return the statement about a header.

    Args:
        header: the header.
        data: the bytes of its file.
        name: the name of its file.
    """
    return {
        "_type": STATEMENT,
        "subject": [manifest_subject(header, hashlib.sha256(data).hexdigest(), name=name)],
        "predicateType": MANIFEST_PREDICATE,
        "predicate": summary(header),
    }


def manifest_subject(header: Header, sha256: str, *, name: str) -> dict[str, Any]:
    """Return the header as a subject: its file by SHA-256 in hexadecimal, and the digest of its content."""
    return {"name": name, "digest": {"sha256": sha256, CONTENT_DIGEST: header.digest.removeprefix("sha256:")}}


def summary(header: Header) -> dict[str, Any]:
    """Return what a reader wants to know of a manifest without opening it."""
    return {
        "name": header.name,
        "generation": header.generation,
        "created": header.created,
        "tool": header.tool,
        "unit": header.unit,
        "idRule": header.id_rule,
        "rows": header.index.rows,
        "amount": math.fsum(shard.amount for shard in header.shards),
        "originRows": origin_rows(header),
        "realShare": real_share(header),
        "generators": list(generators(header)),
        "parents": [parent_entry(parent.name, parent.digest) for parent in header.parents],
        "policyDigest": header.policy_digest,
        "rootDigest": header.root_digest,
        "realRootDigest": header.real_root_digest,
        "takedowns": None if header.takedowns is None else header.takedowns.model_dump(mode="json"),
    }


def parent_entry(name: str, digest: str) -> dict[str, Any]:
    """Return a parent by the digest of its content."""
    return {"name": name, "digest": {CONTENT_DIGEST: digest.removeprefix("sha256:")}}
