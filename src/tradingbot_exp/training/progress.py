"""What a person sees while a network trains: a bar on a terminal, a few lines in a log, or nothing."""

from __future__ import annotations

import math
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from tradingbot_exp.config.choices import PROGRESS_MODES, check_name

if TYPE_CHECKING:
    from typing import Self

    from tradingbot_exp.training.state import Epoch


class Progress:
    """Shows nothing; the base of those that show something.

    A context manager, and a `tradingbot_exp.training.state.Listener` for `train_model`.
    """

    def on_epoch(self, epoch: Epoch) -> None:
        """Show an epoch."""

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, however training ended."""


class _Lines(Progress):
    """At most ten lines a run: the first epoch, the last, and some between; each flushed at once."""

    def __init__(self, epochs: int, stream: TextIO) -> None:
        self._every = max(1, math.ceil(epochs / 8))
        self._stream = stream
        self._start = time.monotonic()
        self._unsaid: str | None = None
        self._before: int | None = None

    def on_epoch(self, epoch: Epoch) -> None:
        """Write a line if it is this epoch's turn."""
        number, epochs = epoch.number, epoch.epochs
        if self._before is None:
            self._before = number - 1  # trained before this display was there
        passed = time.monotonic() - self._start
        left = passed / (number - self._before) * (epochs - number)
        count = f"epoch {number:>{len(str(epochs))}}/{epochs}"
        self._unsaid = f"{count}  {_losses(epoch)}  {passed:.1f} s, {left:.1f} s left"
        if number in (self._before + 1, epochs) or number % self._every == 0:
            self._say()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last epoch's line, if training stopped between two lines."""
        if self._unsaid is not None:
            self._say()

    def _say(self) -> None:
        print(self._unsaid, file=self._stream, flush=True)
        self._unsaid = None


class _Bar(Progress):
    """A tqdm bar: epoch, losses, time left."""

    def __init__(self, epochs: int, stream: TextIO) -> None:
        from tqdm import tqdm

        self._bar: tqdm[Any] = tqdm(total=epochs, desc="epoch", unit="epoch", file=stream, **bar_size(stream))

    def on_epoch(self, epoch: Epoch) -> None:
        """Move the bar; tqdm redraws it at most ten times a second."""
        if self._bar.n == 0 and epoch.number > 1:  # trained before this display was there: of no account for the time
            self._bar.initial = self._bar.n = epoch.number - 1
        self._bar.set_postfix_str(_losses(epoch), refresh=False)
        self._bar.update(epoch.number - self._bar.n)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the bar as it stands and leave it there."""
        self._bar.refresh()
        self._bar.close()


def bar_size(stream: TextIO) -> dict[str, Any]:
    """Return what makes a tqdm bar as wide as the terminal, also when that changes.

    tqdm by itself draws nothing on a terminal that says it has no size.
    """
    return {"dynamic_ncols": True} if _columns(stream) else {"ncols": 80, "nrows": 20}


def _columns(stream: TextIO) -> int:
    """Ask the terminal for its width; 0 if there is none, or it (a container's, say) does not know."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def _losses(epoch: Epoch) -> str:
    return f"train {epoch.train_loss:.6g}  val {epoch.val_loss:.6g}"


def make_progress(mode: str, epochs: int, stream: TextIO | None = None) -> Progress:
    """Choose a display.

    Parameters
    ----------
    mode : str
        ``auto`` (a bar if the stream is a terminal, else lines), ``bar``, ``plain`` or ``off``.
    epochs : int
        The epochs asked for.
    stream : text stream, optional
        Standard error, as it is when this is called.

    Raises
    ------
    ConfigError
        For an unknown mode.
    """
    check_name("training.progress", mode, PROGRESS_MODES)
    stream = sys.stderr if stream is None else stream
    if mode == "auto":
        mode = "bar" if stream.isatty() else "plain"
    if mode == "off":
        return Progress()
    return _Bar(epochs, stream) if mode == "bar" else _Lines(epochs, stream)
