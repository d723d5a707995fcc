"""Whether a module of any kind can be trained with others of its kind at once: found by trying it."""

from __future__ import annotations

import copy
import enum
import functools
import hashlib
import types
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tradingbot_exp.runtime.text import qualified_name
from tradingbot_exp.training.networks.functional import Functional, Template

# What every module has, and what concerns no forward pass.
_MACHINERY = frozenset(vars(nn.Module()))
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, enum.Enum, types.CodeType)
# Rows and models of a try; how far from the model alone they may be, as a share of the largest value; a seed.
_ROWS, _MODELS, _TOLERANCE, _SEED = 3, 2, 1e-4, 0


class Tried(NamedTuple):
    """What came of a try.

    Attributes
    ----------
    reason : str
        What keeps a model from being stacked; empty for nothing.
    outputs : int
        Values of an output.
    work : int
        Products of two numbers that are added up for a row.
    """

    reason: str
    outputs: int = 0
    work: int = 0


class _IncomparableError(Exception):
    """A value of which nobody can say whether another is the same."""


def settings_of(model: nn.Module) -> tuple[Any, ...] | str:
    """Return all that decides what a model computes, but for parameters, buffers' values and how much is dropped.

    Returns
    -------
    tuple, or str
        The same for models that can share a forward pass; or what cannot be compared.
    """
    parts: list[Any] = [tuple((name, tuple(p.shape), p.dtype) for name, p in model.named_parameters())]
    parts.append(tuple((name, tuple(buffer.shape), buffer.dtype) for name, buffer in model.named_buffers()))
    for name, part in model.named_modules():
        own = {key: value for key, value in vars(part).items() if key not in _MACHINERY}
        if type(part).__module__.startswith("torch.nn."):  # what they keep for themselves follows from the rest
            own = {key: value for key, value in own.items() if not key.startswith("_")}
        if type(part) is nn.Dropout:
            del own["p"]
        for key, value in own.items():
            try:
                parts.append((name, key, _plain(value)))
            except _IncomparableError:
                return f"its attribute {'.'.join(filter(None, (name, key)))} cannot be compared with that of another"
        parts.append((name, type(part)))
    return tuple(parts)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - a line for each kind
    """Return a value that is equal where what is given does the same."""
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_plain, value))
    if isinstance(value, Mapping):
        return type(value), tuple((_plain(key), _plain(each)) for key, each in value.items())
    if isinstance(value, Tensor | np.ndarray):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        if array.dtype.hasobject:
            raise _IncomparableError
        return str(array.dtype), array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    if isinstance(value, functools.partial):
        return _plain(value.func), _plain(value.args), _plain(value.keywords)
    if isinstance(value, types.FunctionType) and not value.__closure__:
        return value.__code__, _plain(value.__defaults__), _plain(value.__kwdefaults__)
    if isinstance(value, type | types.BuiltinFunctionType):
        return qualified_name(value)
    raise _IncomparableError


_tried: dict[Any, Tried] = {}


def tried(model: nn.Module, settings: tuple[Any, ...], row: tuple[int, ...]) -> Tried:
    """Try, once for models of the same settings, whether they can be stacked, and see that they are as alone.

    Parameters
    ----------
    model : nn.Module
        It stays as it is.
    settings : tuple
        See `settings_of`.
    row : tuple of int
        The shape of one row of its input.
    """
    key = (settings, row)
    if key not in _tried:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule")  # where vmap would go through them one by one
            try:
                _tried[key] = _try(copy.deepcopy(model), row)
            except Exception as error:
                said = str(error).strip().partition("\n")[0]
                why = (
                    f"torch.func cannot run it for several sets of parameters at once ({type(error).__name__}: {said})"
                )
                _tried[key] = Tried(why)
    return _tried[key]


def _try(model: nn.Module, row: tuple[int, ...]) -> Tried:
    first = next(model.parameters())
    draw = torch.Generator().manual_seed(_SEED)
    x = torch.randn(_MODELS, _ROWS, *row, generator=draw).to(first)
    models = [model, copy.deepcopy(model)]
    with torch.no_grad():
        for p in models[1].parameters():
            p.add_(torch.randn(p.shape, generator=draw).to(p), alpha=0.01)
    thetas = [
        torch.stack([each.detach() for each in own]) for own in zip(*(m.parameters() for m in models), strict=True)
    ]
    grads = [torch.zeros_like(theta) for theta in thetas]
    network = Functional(models, thetas, grads)
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            known = torch.stack([each.eval()(x[0]).reshape(_ROWS, -1) for each in models])
        if not _alike(network.evaluate(x[0]), known):
            return Tried("torch.func gives other outputs than the model alone")
    before = [buffer.clone() for buffer in model.buffers()]
    slope, out, outs = torch.randn(known.shape, generator=draw).to(first), torch.empty_like(known), []
    for own, rows, slopes in zip(models, x, slope, strict=True):
        torch.manual_seed(_SEED)
        found = own.train()(rows)
        found.backward(slopes.view_as(found))
        outs.append(found.detach().reshape(_ROWS, -1))
    if any(not torch.equal(old, new) for old, new in zip(before, model.buffers(), strict=True)):
        return Tried("it keeps statistics of its batches")
    if unused := [name for name, p in model.named_parameters() if p.grad is None]:
        return Tried(f"its output does not depend on its parameter {unused[0]}")
    with torch.no_grad():
        network.forward(x, out, None, [torch.Generator(first.device).manual_seed(_SEED) for _ in models])
    network.backward(slope)
    alone = [torch.stack([_slope(each) for each in own]) for own in zip(*(m.parameters() for m in models), strict=True)]
    if not _alike(out, torch.stack(outs)) or not all(map(_alike, grads, alone)):
        return Tried("torch.func gives other outputs or gradients in training than the model alone")
    if _mixes(model, x[0]):
        return Tried("the output of a row depends on the other rows of its batch")
    return Tried("", known.shape[-1], counter.get_total_flops() // (2 * _MODELS * _ROWS))


def _slope(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max() + 1e-12)


def _mixes(model: nn.Module, x: Tensor) -> bool:
    """Whether what a row gives in training, dropout aside, is another where it comes alone."""
    template = Template(model)
    values = list(model.parameters()), list(model.buffers())
    with torch.no_grad():
        together, alone = (template(*values, rows, ()) for rows in (x, x[:1]))
    return not _alike(together[:1], alone)
