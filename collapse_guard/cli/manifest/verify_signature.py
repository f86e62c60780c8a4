"""``collapse-guard manifest verify-signature``: did this key vouch for this manifest?"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.errors import SignatureError
from collapse_guard.kernels import one_line
from collapse_guard.manifest.signing import require_signature


def verify_signature(
    manifest: Annotated[Path, typer.Argument(help="The manifest, such as gen4/manifest.cgm.json.")],
    key: Annotated[
        list[Path],
        typer.Option("--key", help="Public key in PEM (Ed25519) that may have signed; may be repeated, one is enough."),
    ],
    signature: Annotated[
        Path | None,
        typer.Option("--signature", help="File of the signature; manifest.cgm.dsse.json beside it if left out."),
    ] = None,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Say whether a key signed this manifest, and whether it is still what was signed.

    Rows are not read: 'check' and 'manifest verify' hold the parts against the digests that the header names. An older
    manifest that was signed once stays signed: look at its generation.

    Exit code: 0 signed, 1 not signed, signed by another key or changed since, 2 unusable input. Needs the extra "sign".

    Example: collapse-guard manifest verify-signature gen4/manifest.cgm.json --key key.pub.pem
    """
    view = {"schema": "collapse-guard/signature/1", "path": str(manifest)}
    try:
        found = require_signature(manifest, key, signature=signature)
    except SignatureError as error:
        print_view(view | {"holds": False, "reason": str(error)}, [str(error)], output_format)
        raise typer.Exit(1) from None
    header = found.header
    text = f"{manifest}: signed by key {found.keyid}: {one_line(header.name)}, generation {header.generation}"
    print_view(view | {"holds": True} | found.as_dict(), [text, f"digest {found.manifest_digest}"], output_format)
