"""What the metrics share that keep one record per sequence (or frame) and look at all of them in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

Record = TypeVar("Record")


class Records(Generic[Record]):
    """Records by name. The figures do not depend on the order in which they come or on how they are split up."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._records = {}

    @property
    def state(self) -> dict[str, Record]:
        """All records by name, as plain data that another instance can load."""
        return dict(self._records)

    def load(self, state: Mapping[str, Record]) -> None:
        """Take in the state of another instance.

        Raises:
            ValueError: a name that is here already.
        """
        for name, record in state.items():
            self._add(name, record)

    def merge(self, other: Records[Record]) -> None:
        """Take in what another instance has seen of other sequences.

        Raises:
            ValueError: both have seen the same one.
        """
        self.load(other.state)

    def _add(self, name: str, record: Record) -> None:
        if name in self._records:
            raise ValueError(f"'{name}' has been added before; every name counts once.")
        self._records[name] = record

    def _ordered(self) -> Iterator[tuple[str, Any]]:
        """Records in the order of their names."""
        return iter(sorted(self._records.items()))
