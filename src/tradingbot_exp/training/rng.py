"""A random stream of a training run's own, beside the caller's: neither sees what the other draws."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor


class SeededRng:
    """A context in which torch's global generators (the CPU's and the device's) follow a seed.

    It may be entered many times and goes on where it was left. On leaving, the generators stand where
    they stood before. So dropout, whatever layer draws it, depends on the seed alone, and a hook called
    between two entries draws from the caller's stream.

    Parameters
    ----------
    seed : int or None
        None: the context does nothing, and draws come from the ambient generators.
    device : torch.device
        Where the model is.
    """

    def __init__(self, seed: int | None, device: torch.device) -> None:
        self._device = device
        self._inner: list[Tensor] | None = None
        self._outer: list[Tensor] = []
        if seed is not None:
            devices = dict.fromkeys(["cpu", str(device)])
            self._inner = [torch.Generator(place).manual_seed(seed).get_state() for place in devices]

    def __enter__(self) -> None:
        """Put the run's own state in place."""
        if self._inner is not None:
            self._outer = self._get()
            self._set(self._inner)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the caller's state back."""
        if self._inner is not None:
            self._inner = self._get()
            self._set(self._outer)

    @property
    def state(self) -> list[Tensor] | None:
        """Where the run's own stream stands; None where there is none."""
        return None if self._inner is None else [each.clone() for each in self._inner]

    def restore(self, state: list[Tensor] | None) -> None:
        """Put the run's own stream where another one stood."""
        self._inner = None if state is None else [each.clone() for each in state]

    def _get(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        elif self._device.type == "mps":
            states.append(torch.mps.get_rng_state())
        return states

    def _set(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)
        elif self._device.type == "mps":
            torch.mps.set_rng_state(states[1])
