"""`caxton security`: certificates and keys, made on this machine. No server is asked."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from caxton_node.cli.command import Group
from caxton_node.cli.session import Session, pass_session
from caxton_node.cli.wasm_signing import sign_wasm

__all__ = ["security"]

AUTHORITY_CERTIFICATE: Final = "ca.crt"
AUTHORITY_KEY: Final = "ca.key"

_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="The folder of the files.",
)
_days = click.option(
    "--days", type=int, default=365, show_default=True, help="How long it is valid."
)
_force = click.option("--force", "is_forced", is_flag=True, help="Replace what is there.")


@click.group(cls=Group)
def security() -> None:
    """Make certificates and keys for nodes and clients.

    They are files of this machine: nothing is sent anywhere. Keep the authority's key where no
    node runs; whoever has it can be any node.
    """


@security.command("init-ca")
@_folder
@click.option("--name", default="Caxton cluster", show_default=True, help="For people to read.")
@_force
@pass_session
def init_ca(session: Session, folder: Path, name: str, *, is_forced: bool) -> None:
    """Make the cluster's certificate authority: ca.crt and ca.key."""
    from caxton_node.security.authority import make_authority

    made = make_authority(_checked_name(name), now=_now())
    files = {folder / AUTHORITY_CERTIFICATE: made.certificate, folder / AUTHORITY_KEY: made.key}
    _write(session, files, is_forced=is_forced)


@security.command("gen-cert")
@_folder
@click.option("--node", metavar="NAME", help="For the node of this name.")
@click.option("--client", metavar="NAME", help="For a client, by this name.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="A name or address under which clients reach the node; may be repeated.",
)
@_days
@_force
@pass_session
def gen_cert(
    session: Session,
    folder: Path,
    node: str | None,
    client: str | None,
    hosts: tuple[str, ...],
    days: int,
    *,
    is_forced: bool,
) -> None:
    """Make a certificate and its key: NAME.crt and NAME.key.

    Of a node: other nodes know it by its name, whatever its address, so that hosts are for
    clients only.
    """
    if (node is None) == (client is None):
        raise click.UsageError("Give --node or --client.")
    if client is not None and hosts:
        raise click.UsageError("A client is not reached: --host goes with --node.")
    from caxton_node.security.authority import read_authority
    from caxton_node.security.secret_files import read_secret

    authority = read_authority(
        read_secret(folder / AUTHORITY_CERTIFICATE), read_secret(folder / AUTHORITY_KEY)
    )
    if node is not None:
        name, made = node, authority.issue("node", node, hosts=hosts, now=_now(), days=days)
    else:
        assert client is not None, "one of the two was given"
        name, made = client, authority.issue("client", client, now=_now(), days=days)
    files = {folder / f"{name}.crt": made.certificate, folder / f"{name}.key": made.key}
    _write(session, files, is_forced=is_forced)


@security.command("renew-cert")
@_folder
@click.argument("name")
@_days
@pass_session
def renew_cert(session: Session, folder: Path, name: str, days: int) -> None:
    """Replace NAME.crt and NAME.key: the same names, a new key, a new end.

    A node that runs takes the new files by itself.
    """
    from caxton_node.security.authority import read_authority
    from caxton_node.security.secret_files import read_secret

    authority = read_authority(
        read_secret(folder / AUTHORITY_CERTIFICATE), read_secret(folder / AUTHORITY_KEY)
    )
    old = folder / f"{_checked_file(name)}.crt"
    made = authority.renew(read_secret(old), now=_now(), days=days)
    # The key first: a certificate whose key is not there yet is not taken, and read again.
    _write(session, {old.with_suffix(".key"): made.key, old: made.certificate}, is_forced=True)


@security.command("gen-key")
@click.option(
    "--kind",
    type=click.Choice(["gossip", "signing"]),
    default="gossip",
    show_default=True,
    help="To encrypt what the ring says (AES-256), or to sign (Ed25519).",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file. [default: gossip.key, or signing.key and signing.pub]",
)
@_force
@pass_session
def gen_key(session: Session, kind: str, out: Path | None, *, is_forced: bool) -> None:
    """Make a key that is no certificate's."""
    from caxton_node.security.keys import make_ring_key, make_signing_key

    if kind == "gossip":
        files = {out or Path("gossip.key"): make_ring_key()}
    else:
        pair, path = make_signing_key(), out or Path("signing.key")
        files = {path: pair.private, path.with_suffix(".pub"): pair.public}
        if len(files) == 1:
            raise click.UsageError("--out is the key that signs; .pub is for the other one.")
    _write(session, files, is_forced=is_forced)


@security.command("show-cert")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@pass_session
def show_cert(session: Session, file: Path) -> None:
    """Show whom a certificate is for, and until when."""
    from caxton_node.security.authority import describe
    from caxton_node.security.secret_files import read_secret

    facts = describe(read_secret(file))
    if session.output.is_json:
        session.output.document(facts)
        return
    names = facts["names"]
    assert isinstance(names, list), "a certificate has a list of names"
    session.output.facts(
        [
            ("Names", "\n".join(names)),
            ("Valid from", facts["not_before"]),
            ("Valid until", facts["not_after"]),
            ("Fingerprint", facts["fingerprint"]),
        ]
    )


security.add_command(sign_wasm)


def _write(session: Session, files: Mapping[Path, bytes], *, is_forced: bool) -> None:
    from caxton_node.security.secret_files import write_all

    write_all(files, is_forced=is_forced)
    output = session.output
    if output.is_json:
        output.document({"files": [str(path) for path in files]})
    else:
        output.done(f"Wrote {' and '.join(str(path) for path in files)}")


def _now() -> datetime:
    return datetime.now(UTC)


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > 64 or not name.isprintable():
        raise click.UsageError("A name has 1 to 64 characters.")
    return name


def _checked_file(name: str) -> str:
    if Path(name).name != name:
        raise click.UsageError("NAME is that of a certificate in the folder, not a path.")
    return name
