"""A progress bar that appears with the first step, so that a mistake that ends a program is told without one."""

from __future__ import annotations

from tqdm import tqdm


def counted(number: int, unit: str) -> str:
    """A number with its unit: "1 frame", "2 frames"."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


class Progress:
    """A bar with steps per second and the time left; ``title`` stands before it, ``leave`` lets it stay at the end."""

    def __init__(self, title: str, unit: str, leave: bool = True) -> None:
        self._title, self._unit, self._leave = title, unit, leave
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int) -> None:
        """So many steps are done of so many in all; those before the first call say nothing about the speed."""
        if self._bar is None:
            self._bar = tqdm(
                initial=max(done - 1, 0),
                total=total,
                unit=f" {self._unit}",
                desc=self._title,
                dynamic_ncols=True,
                leave=self._leave,
            )
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
