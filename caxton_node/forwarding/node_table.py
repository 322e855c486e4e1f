"""The nodes that are alive and what they say of themselves: what placement sees of them.

A node gets agents once it has told of itself in the life that membership knows. So one that was
just started is not chosen before it is ready, and what an earlier life said is void. Until then it
is silent: what it runs is its own, and nobody takes it over because a link is not up yet.

State only; membership and the links bring the news.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from caxton_node.forwarding.notices import Notice, view_of
from caxton_node.runtime.placement import NodeView

__all__ = ["NodeTable"]


class NodeTable:
    """The other nodes, and this one.

    Args:
        own: This node's name.
        struck_off: Nodes that were expected no more when this one stopped.
    """

    def __init__(self, own: str, struck_off: Iterable[str] = ()) -> None:
        self._own = own
        self._alive: dict[str, int] = {}
        self._gone: set[str] = set()
        self._struck_off = set(struck_off)
        self.on_struck_off: Callable[[str, bool], None] = lambda _node, _is_so: None
        """Told when a node is expected no more, and when it is back all the same. Whoever keeps
        that over restarts sets it."""
        self._notices: dict[str, Notice] = {}
        self._views: dict[str, NodeView] = {}

    @property
    def alive_count(self) -> int:
        """How many nodes are alive or at most suspected, this one included."""
        return len(self._alive) + 1

    @property
    def views(self) -> Mapping[str, NodeView]:
        """The live nodes as placement sees them, this one among them once it told of itself.

        Always the same mapping, kept current.
        """
        return self._views

    def is_alive(self, node: str) -> bool:
        """Return whether another node is alive."""
        return node in self._alive

    def others(self) -> Sequence[str]:
        """Return the other live nodes, by name."""
        return sorted(self._alive)

    def unreachable(self) -> Sequence[str]:
        """Return the nodes that died and are expected back, by name."""
        return sorted(self._gone)

    def struck_off(self) -> Sequence[str]:
        """Return the nodes that are expected no more, by name."""
        return sorted(self._struck_off)

    def is_struck_off(self, node: str) -> bool:
        """Return whether a node is expected no more."""
        return node in self._struck_off

    def is_gone(self, node: str) -> bool:
        """Return whether a node died and is expected back."""
        return node in self._gone

    def notice(self, node: str) -> Notice | None:
        """Return what a live node said of itself last."""
        view = self._views.get(node)
        return None if view is None or view.is_silent else self._notices.get(node)

    def stores(self) -> Sequence[str]:
        """Return how etcd does, as each of the other live nodes says that has told of itself."""
        notices = (self.notice(node) for node in sorted(self._alive))
        return [notice.store for notice in notices if notice is not None]

    def up(self, node: str, epoch: int) -> bool:
        """Note that a node is alive; return whether that is news."""
        if self._alive.get(node) == epoch:
            return False
        self._alive[node] = epoch
        self._gone.discard(node)
        if node in self._struck_off:
            self._struck_off.discard(node)
            self.on_struck_off(node, False)
        self._refresh(node)
        return True

    def down(self, node: str, *, is_expected_back: bool) -> bool:
        """Note that a node died, or left; return whether it was alive."""
        if self._alive.pop(node, None) is None:
            return False
        if is_expected_back:
            self._gone.add(node)
        self._refresh(node)
        return True

    def strike_off(self, node: str) -> bool:
        """Expect a dead node no more; return whether that is news."""
        if node in self._alive or node in self._struck_off or node == self._own:
            return False
        self._struck_off.add(node)
        self.on_struck_off(node, True)
        self._gone.discard(node)
        self._notices.pop(node, None)
        return True

    def heard(self, node: str, notice: Notice) -> bool:
        """Take in what a node says of itself; return whether placement sees it otherwise now."""
        before = self._views.get(node)
        self._notices[node] = notice
        if node == self._own:
            self._views[node] = view_of(node, notice)
        else:
            self._refresh(node)
        return self._views.get(node) != before

    def _refresh(self, node: str) -> None:
        notice, epoch = self._notices.get(node), self._alive.get(node)
        if epoch is None:
            self._views.pop(node, None)
            self._notices.pop(node, None)
        elif notice is not None and epoch == notice.epoch:
            self._views[node] = view_of(node, notice)
        else:
            self._views[node] = NodeView(name=node, is_silent=True)
