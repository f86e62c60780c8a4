"""``collapse-guard manifest sign``: vouch for a manifest with a key."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.manifest.signing import load_private_key, sign_manifest


def sign(
    manifest: Annotated[Path, typer.Argument(help="The manifest, such as gen4/manifest.cgm.json.")],
    key: Annotated[
        Path, typer.Option("--key", help="Private key in PEM (Ed25519, PKCS8), encrypted or not; kept out of git.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; manifest.cgm.dsse.json beside it if left out.")
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Keep the signatures of other keys over this same manifest.")
    ] = False,
) -> None:
    """Sign a manifest with Ed25519: an in-toto statement of its digests, in a DSSE envelope. Works offline.

    What is signed is the header file, byte for byte; write it again and it must be signed again. Keys are made by
    'openssl genpkey -algorithm ed25519 -aes256 -out key.pem', and their public half by
    'openssl pkey -in key.pem -pubout -out key.pub.pem'. The passphrase comes from COLLAPSE_GUARD_KEY_PASSPHRASE, or is
    asked for on a terminal.

    Exit code: 0 written, 2 unusable input. Needs the extra "sign".

    Example: collapse-guard manifest sign gen4/manifest.cgm.json --key key.pem
    """
    signer = load_private_key(key, ask=_ask if _is_terminal() else None)
    written = sign_manifest(manifest, signer, output, is_added=add)
    typer.echo(f"signed by key {signer.public.keyid}: {written}")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask() -> str:
    return str(typer.prompt("Passphrase of the key", hide_input=True, err=True))
