"""What a person sees while a study runs: a bar on a terminal, a line for each finished trial when piped."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from optuna.trial import TrialState

from tradingbot_exp.hpo.trials import STATES
from tradingbot_exp.hpo.watching import REFRESH_SECONDS, ProgressFile
from tradingbot_exp.tracking.run_names import trial_name
from tradingbot_exp.training.progress import bar_size

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# Running trials that have a line each on the terminal; those of a stack are all at the same epoch.
MOST_LINES = 4
# Of all trials; how many are done stands among the counts behind it.
BAR = "{desc} {percentage:3.0f}%|{bar:10}| {elapsed}<{remaining}{postfix}"


class StudyDisplay:
    """Follows a study; call it with the study's trials after each change.

    Parameters
    ----------
    total : int
        How many trials there are to be.
    mode : str
        `training.progress`.
    folder : Path
        The study's.
    study : optuna.Study
    stream : text stream, optional
        Standard error.
    """

    def __init__(self, total: int, mode: str, folder: Path, study: Study, stream: TextIO | None = None) -> None:
        self._total, self._mode, self._folder, self._study = total, mode, folder, study
        self._stream = stream or sys.stderr
        if self._mode == "auto":
            self._mode = "bar" if self._stream.isatty() else "plain"
        self._told: set[int] | None = None
        self._started = time.monotonic()
        self._before = 0
        self._bar: Any = None
        self._lines: dict[int, Any] = {}
        self._running: list[int] = []
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="study-display", daemon=True)

    @property
    def is_live(self) -> bool:
        """Whether there is a bar on a terminal, with a line for each of the first few running trials."""
        return self._mode == "bar"

    def __enter__(self) -> Self:
        """Start."""
        if self.is_live:
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen; what is written next comes below it."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        if self._bar is not None:
            self._bar.close()

    def __call__(self, trials: Sequence[FrozenTrial]) -> None:
        """Show the trials' present state."""
        done = [trial for trial in trials if trial.state.is_finished()]
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        if self._told is None:
            self._told = {trial.number for trial in done}
            self._before = len(done)
        if self._mode == "bar":
            self._draw(done, running)
        elif self._mode == "plain":
            for trial in done:
                if trial.number not in self._told:
                    self._stream.write(self._line(trial, done) + "\n")
            self._stream.flush()
        self._told |= {trial.number for trial in done}

    def _line(self, trial: FrozenTrial, done: Sequence[FrozenTrial]) -> str:
        values = ", ".join(f"{value:.6g}" for value in trial.values or [])
        seconds = f"{trial.duration.total_seconds():.1f} s" if trial.duration else "-"
        return (
            f"trial {trial.number}: {STATES[trial.state]}{f' {values}' if values else ''} in {seconds}  "
            f"{self._counts(done)}{self._best(done)}{self._left(done)}"
        )

    def _counts(self, done: Sequence[FrozenTrial]) -> str:
        failed = sum(trial.state == TrialState.FAIL for trial in done)
        pruned = sum(trial.state == TrialState.PRUNED for trial in done)
        return f"{len(done)}/{self._total} done, {failed} failed, {pruned} pruned"

    def _best(self, done: Sequence[FrozenTrial]) -> str:
        complete = [trial for trial in done if trial.state == TrialState.COMPLETE]
        if not complete or len(self._study.directions) > 1:
            return ""
        best = self._study.best_trial
        return f", best {best.value:.6g} (trial {best.number})"

    def _left(self, done: Sequence[FrozenTrial]) -> str:
        here = len(done) - self._before
        if here == 0:
            return ""
        left = (time.monotonic() - self._started) / here * max(0, self._total - len(done))
        return f", {left:.0f} s left"

    def _draw(self, done: Sequence[FrozenTrial], running: Sequence[FrozenTrial]) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=self._total,
                initial=len(done),
                desc="trials",
                bar_format=BAR,
                file=self._stream,
                **bar_size(self._stream),
            )
        self._running = [trial.number for trial in running][:MOST_LINES]
        self._bar.update(len(done) - self._bar.n)
        self._bar.set_postfix_str(self._counts(done) + self._best(done))

    def _watch(self) -> None:
        """Keep a line for each running trial up to date: its epoch and its loss."""
        from tqdm import tqdm

        while not self._ended.wait(REFRESH_SECONDS):
            running = self._running
            for number in [number for number in self._lines if number not in running]:
                self._lines.pop(number).close()
            for number in running:
                state = self._state(number)
                if state is None:
                    continue
                if number not in self._lines:
                    self._lines[number] = tqdm(
                        total=state["epochs"],
                        initial=state["epoch"],  # of what went before, the bar does not know how long it took
                        desc=f"trial {number}",
                        unit="epoch",
                        file=self._stream,
                        leave=False,
                        **bar_size(self._stream),
                    )
                line = self._lines[number]
                line.set_postfix_str(f"val {state['val_loss']:.6g}", refresh=False)
                line.update(state["epoch"] - line.n)
                line.refresh()
        for line in self._lines.values():
            line.close()

    def _state(self, number: int) -> dict[str, Any] | None:
        """Read what a trial has written down; None if it has not begun."""
        file = self._folder / trial_name(number) / ProgressFile.NAME
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found
