"""How much may happen in a time: a bucket that fills at a rate and holds one time's worth.

Arithmetic and state only. The caller supplies the time.
"""

__all__ = ["Allowance"]


class Allowance:
    """A rate that is kept.

    Args:
        amount: What may be taken in one unit of time, on average; also the most at once.
    """

    def __init__(self, amount: float) -> None:
        self._amount = amount
        self._left = amount
        self._at: float | None = None

    def take(self, amount: float, now: float) -> bool:
        """Take an amount if it is there; return whether it was.

        Args:
            amount: Of whatever is counted.
            now: In units of time: seconds for a rate by the second.
        """
        if self._at is not None and now > self._at:
            self._left = min(self._amount, self._left + (now - self._at) * self._amount)
        self._at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def charge(self, amount: float) -> None:
        """Take an amount that was spent already: it may have to be waited for afterwards."""
        self._left -= amount
