"""`caxton security sign-wasm`: vouch for a guest's file with an Ed25519 key."""

import base64
import re
import tomllib
from pathlib import Path

import click

from caxton_node.cli.command import Command
from caxton_node.cli.session import Session, pass_session
from caxton_node.domain.errors import Rejected

__all__ = ["sign_wasm"]


@click.command("sign-wasm", cls=Command)
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--key", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--signer", required=True, help="The key's name in `wasm.signers` of the nodes.")
@pass_session
def sign_wasm(session: Session, manifest: Path, key: Path, signer: str) -> None:
    """Sign the file that a manifest names; digest, signature and signer go into the manifest.

    Make a key with `caxton security gen-key --kind signing`.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from caxton_node.cli.guest_source import read_guest
    from caxton_node.security.secret_files import read_secret
    from caxton_node.wasm.signatures import sign

    guest = read_guest(str(manifest))
    if guest is None:
        raise Rejected("invalid_module", f"{manifest} is no manifest of a WebAssembly guest")
    try:
        private = load_pem_private_key(read_secret(key), None)
    except ValueError:
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise click.BadParameter(f"{key} is no Ed25519 key in PEM", param_hint="--key")
    table = tomllib.loads(guest.manifest)
    name, version = str(table.get("name", manifest.stem)), str(table.get("version", "1.0.0"))
    signature = sign(private, guest.digest, name, version)
    manifest.write_text(with_signature(guest.manifest, signature, signer), encoding="utf-8")
    public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
    document = {"sha256": guest.digest, "signature": signature, "signer": signer, "key": public}
    if session.output.is_json:
        session.output.document(document)
        return
    session.output.done(f"Signed {name} {version} as {signer}")
    session.output.note(f'The nodes trust it with:  [wasm.signers]  {signer} = "{public}"')


def with_signature(text: str, signature: str, signer: str) -> str:
    """Return a manifest with a signature behind its digest, in place of any before."""
    text = re.sub(r"^\s*(?:signature|signer)\s*=.*\n", "", text, flags=re.MULTILINE)
    return re.sub(
        r'^(\s*)(sha256\s*=\s*"[0-9A-Fa-f]{64}".*)$',
        rf'\1\2\n\1signature = "{signature}"\n\1signer = "{signer}"',
        text,
        count=1,
        flags=re.MULTILINE,
    )
