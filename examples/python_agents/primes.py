"""An agent that works for a while: it finds the smallest factor of a number."""

import asyncio


class Factors:
    """Answers with the smallest prime factor of the number that it hears."""

    def __init__(self, parameters):
        """Take the `[parameters]` of the agent's file."""
        self.pause_s = parameters.get("pause_s", 0.0)

    async def handle(self, message, context):
        """Answer a message; a turn that only told something needs no answer."""
        number = message.body()
        await asyncio.sleep(self.pause_s)  # as if it asked somebody outside
        divisor = 2
        while divisor * divisor <= number:
            if number % divisor == 0:
                return divisor
            divisor += 1
        return number
