"""An agent written in Python: it counts words by conversation, and asks a colleague for help."""

from collections import Counter


class Tally:
    """Counts the words that it hears.

    One object serves all conversations, several at once; turns of one conversation never overlap.
    What an object holds is lost when its agent is redeployed or crashes: keep what matters in
    messages.
    """

    def __init__(self, parameters):
        """Take the `[parameters]` of the agent's file."""
        self.ignored = set(parameters.get("ignored", []))
        self.counts = {}

    async def handle(self, message, context):
        """Answer a message. What is returned is sent to whoever asked."""
        counts = self.counts.setdefault(message.conversation_id, Counter())
        counts.update(word for word in message.body().split() if word not in self.ignored)
        return dict(counts.most_common(3))
