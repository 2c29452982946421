"""Ending a run that is not worth finishing."""

from __future__ import annotations

from vqa_engine.errors import NothingAnswered
from vqa_engine.results import Row
from vqa_engine.runs.account import Account


class Alike:
    """Ends a run whose first `most` questions all fail in the same way; 0 never does."""

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0
        self._first = ""

    def see(self, row: Row, account: Account) -> None:
        """Take a row.

        Raises:
            NothingAnswered: it was the last of the first ones, and all failed alike.
        """
        failure = row.failure
        reason = f"{failure.cause}: {failure.reason or failure.message}" if failure else ""
        if not self._most or not reason or self._first not in {"", reason}:
            self._most = 0
            return
        self._first, self._seen = reason, self._seen + 1
        if failure is not None and self._seen == self._most:
            raise NothingAnswered(account.label, self._seen, failure.cause, failure.message)
