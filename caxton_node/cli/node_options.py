"""The options of a node, for `caxton-node` and for the commands that start and find one."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

__all__ = ["FLAGS", "Flags", "node_options"]

Flags = Mapping[str, str | None]
"""By option, as in `FLAGS`; None is one that was not used."""

FLAGS: Final[Mapping[str, str]] = {
    "--config": "config",
    "--name": "node.name",
    "--data-dir": "node.data_dir",
    "--http": "http.bind",
    "--grpc": "grpc.bind",
    "--peers": "cluster.peers",
    "--gossip": "cluster.gossip",
    "--advertise": "cluster.advertise",
    "--expect": "cluster.expect",
    "--etcd": "etcd.endpoints",
    "--log-format": "log.format",
    "--log-level": "log.level",
}
"""Option → key of the setting that it sets."""


def node_options(*, with_log: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator for the options that say which node: they arrive as `flags`.

    Args:
        with_log: Also those that only matter to one that starts.
    """
    options = [
        click.option("--config", metavar="FILE", help="Settings. [default: caxton.toml, if any]"),
        click.option("--name", help="What the node is called."),
        click.option("--data-dir", metavar="DIR", help="Where it keeps what it must not lose."),
        click.option("--http", metavar="HOST:PORT", help="Where the API listens."),
    ]
    if with_log:
        options += [
            click.option(
                "--grpc", metavar="HOST:PORT", help="Where the gRPC API listens, nodes included."
            ),
            click.option(
                "--peers", metavar="HOST:PORT,…", help="Members of the ring of nodes to join by."
            ),
            click.option(
                "--gossip",
                metavar="ADDRESS:PORT",
                help="Where the ring reaches it; without this and --peers it is in none.",
            ),
            click.option(
                "--advertise",
                metavar="ADDRESS:PORT",
                help="The address to tell the ring, where it is another one.",
            ),
            click.option(
                "--expect", metavar="N", help="How many nodes the cluster has, to tell majorities."
            ),
            click.option(
                "--etcd", metavar="URL,…", help="Members of an etcd for cluster metadata, if any."
            ),
            click.option(
                "--log-format", type=click.Choice(["text", "json"]), help="How the log is written."
            ),
            click.option(
                "--log-level",
                type=click.Choice(["debug", "info", "warning", "error"]),
                help="The least important lines that are written.",
            ),
            click.option(
                "--insecure",
                "is_insecure",
                is_flag=True,
                help="Let other machines reach it, though it has no login yet.",
            ),
        ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def gathered(*args: Any, **kwargs: Any) -> Any:
            names = {option: option.removeprefix("--").replace("-", "_") for option in FLAGS}
            flags = {option: kwargs.pop(name, None) for option, name in names.items()}
            return function(*args, flags=flags, **kwargs)

        decorated: Callable[..., Any] = gathered
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate
