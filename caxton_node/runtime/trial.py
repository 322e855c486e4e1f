"""Two versions of an agent side by side: the one in force, and a canary that takes a share.

To the seat it is one agent. Each conversation that began after the canary did, and is of its share,
goes to the canary; all others to the version in force. What the canary does wrong is noted, and is
not held against the agent: its crashes do not count among the agent's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from caxton_node.domain.errors import CaxtonError, Failed, Rejected
from caxton_node.domain.message import Message
from caxton_node.runtime.agent import Agent, TurnContext
from caxton_node.runtime.rollout import CanarySettings, Outcomes, is_chosen

__all__ = ["Trial"]

CONVERSATIONS_MAX: Final = 10_000
"""Conversations of which it is remembered whether they began before the canary."""


class Trial:
    """An agent made of two versions of it. Implements `Agent`.

    Args:
        running: The version in force. It goes on whatever happens.
        canary: The new one.
        settings: Which share it takes.
        salt: Tells this canary from others.
        started_at: When it began, in milliseconds since 1970, UTC.
        began_at: Tells when a conversation began, likewise; None where nothing is known of it.
        now_ms: Tells the time, likewise.
        on_news: Called when a turn of the canary has ended.
    """

    def __init__(
        self,
        running: Agent,
        canary: Agent,
        *,
        settings: CanarySettings,
        salt: str,
        started_at: int,
        began_at: Callable[[str], Awaitable[int | None]],
        now_ms: Callable[[], int],
        on_news: Callable[[], None],
    ) -> None:
        self.running = running
        self.canary = canary
        self.settings = settings
        self.started_at = started_at
        self.of_running = Outcomes()
        self.of_canary = Outcomes()
        self.is_over = False
        """The canary gets no new turns."""
        self.is_promoted = False
        """The canary is in force, and the other version is not."""
        self.canary_turns_under_way = 0
        self._salt = salt
        self._began_at = began_at
        self._now_ms = now_ms
        self._on_news = on_news
        self._chosen: dict[str, bool] = {}

    async def handle(self, message: Message, context: TurnContext) -> Any:
        """Take a turn with the version that the conversation belongs to.

        Raises:
            CaxtonError: As the version does; `agent_failed` where the canary crashed.
        """
        if not await self._belongs_to_canary(message.conversation_id):
            return await self._timed(self.running, self.of_running, message, context)
        self.canary_turns_under_way += 1
        try:
            return await self._timed(self.canary, self.of_canary, message, context)
        except (CaxtonError, asyncio.CancelledError):
            raise
        except (Exception, SystemExit) as error:
            self.canary.after_crash()
            detail = f"the canary crashed: {type(error).__name__}: {error}"
            raise Failed("agent_failed", detail[:500]) from error
        finally:
            self.canary_turns_under_way -= 1
            self._on_news()

    async def _belongs_to_canary(self, conversation_id: str) -> bool:
        if self.is_over:
            return False
        if not is_chosen(conversation_id, salt=self._salt, share=self.settings.share):
            return False
        known = self._chosen.get(conversation_id)
        if known is None:
            began_at = await self._began_at(conversation_id)
            known = began_at is None or began_at >= self.started_at
            if len(self._chosen) >= CONVERSATIONS_MAX:
                del self._chosen[next(iter(self._chosen))]
            self._chosen[conversation_id] = known
        return known and not self.is_over

    async def _timed(
        self, agent: Agent, outcomes: Outcomes, message: Message, context: TurnContext
    ) -> Any:
        started_s = time.perf_counter()
        is_failure: bool | None = True
        try:
            answer = await agent.handle(message, context)
            is_failure = False
        except Rejected:
            # Whoever asked was wrong.
            is_failure = False
            raise
        except asyncio.CancelledError:
            # Called off by somebody says nothing; by its deadline it does.
            is_failure = None if self._now_ms() < context.deadline_ms else True
            raise
        finally:
            if is_failure is not None:
                outcomes.note(time.perf_counter() - started_s, is_failure=is_failure)
        return answer

    def after_crash(self) -> None:
        """Let the version in force begin anew: the canary's crashes do not come this far."""
        self.running.after_crash()

    async def close(self) -> None:
        """Release what is not in force any more: another version, or the canary, has replaced it.

        What crashes while it closes is for whoever called.
        """
        self.is_over = True
        await self.running.close()
        if not self.is_promoted:
            await self.canary.close()
