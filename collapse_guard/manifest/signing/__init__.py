"""Who vouches for a manifest: an in-toto statement about it, in a DSSE envelope signed with Ed25519.

What is signed is the header file as a reviewer reads it, byte for byte, by its SHA-256, and the digest of its content
beside it. The content digest alone would leave open when, with which tool and from which files a manifest was written;
so a header that is written again is signed again. Rows are covered through the digests of the parts that the header
names: they hold if ``check`` or ``manifest verify`` says so.

A signature does not say more than that the holder of a key signed these bytes:

* An older manifest that was signed once stays signed, and can be put in the place of a newer one. Pin the parent
  (``manifests.parent_digest``) and look at the generation, which both commands print.
* To change keys, sign with the new one beside the old (``--add``), let readers accept both, then drop the old one.
  Nothing expires and nothing is revoked here: who must not sign any more leaves the keys that readers accept.
* One good signature of any accepted key is enough; there is no threshold.
* Whoever can change the accepted keys, or the job that asks for them, needs no signature.

Sources: RFC 8032 (Ed25519), https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, and
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The arithmetic is that of ``cryptography``.
"""

from collapse_guard.manifest.signing.keys import PASSPHRASE_VARIABLE, load_private_key, load_public_keys
from collapse_guard.manifest.signing.signatures import (
    Signature,
    require_signature,
    sign,
    sign_manifest,
    signature_path,
    verify,
)

__all__ = [
    "PASSPHRASE_VARIABLE",
    "Signature",
    "load_private_key",
    "load_public_keys",
    "require_signature",
    "sign",
    "sign_manifest",
    "signature_path",
    "verify",
]
