"""Whether a module of any kind can be trained with others of its kind at once: found by looking at it and trying it."""

from __future__ import annotations

import copy
import enum
import functools
import hashlib
import types
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tradingbot_exp.training.networks.functional import Functional

# What every module has, and what concerns no forward pass.
_MACHINERY = frozenset(vars(nn.Module()))
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
# Models and rows of a try; how far from the models alone they may be, as a share of the largest value; a seed; how much
# is dropped, and how far the second model is from the first.
_MODELS, _ROWS, _TOLERANCE, _SEED, _DROPPED, _APART = 2, 3, 1e-4, 0, 0.5, 0.1


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
    kept : int
        Values that autograd keeps of a row.
    """

    reason: str
    outputs: int = 0
    work: int = 0
    kept: int = 0


def settings_of(model: nn.Module) -> tuple[Any, ...] | str:
    """Return all that decides what a model computes, but for parameters, buffers' values and how much is dropped.

    Returns
    -------
    tuple, or str
        The same for models that can share a forward pass; or what stands against it.
    """
    parts: list[Any] = []
    for what, named in (
        ("part", model.named_modules(remove_duplicate=False)),
        ("parameter", model.named_parameters(remove_duplicate=False)),
        ("buffer", model.named_buffers(remove_duplicate=False)),
    ):
        known: dict[int, str] = {}
        for name, value in named:
            first = known.setdefault(id(value), name)
            if first != name:
                return f"its {what} {name} is {first} once more"
            own = (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else (type(value),)
            parts.append((name, *own))
    for name, part in model.named_modules():
        if type(part) is nn.Dropout and (part.inplace or part.p == 1):
            return f"its dropout layer {name} works in place, or drops everything"
        settings = {key: value for key, value in vars(part).items() if key not in _MACHINERY}
        if type(part).__module__.startswith("torch.nn."):  # what they keep for themselves follows from the rest
            settings = {key: value for key, value in settings.items() if not key.startswith("_")}
        if type(part) is nn.Dropout:
            del settings["p"]
        for key, value in settings.items():
            try:
                parts.append((name, key, _plain(value)))
            except Exception:  # tensors and objects of other libraries may raise anything
                return f"its attribute {'.'.join(filter(None, (name, key)))} cannot be compared with that of another"
    return tuple(parts)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - a line for each kind
    """Return a value that is equal where what is given does the same; of exact types, as others may do otherwise.

    Raises
    ------
    TypeError
        Nobody can say whether another is the same.
    """
    kind = type(value)
    if kind in _PLAIN or isinstance(value, type | enum.Enum):
        return kind, value
    if kind in (list, tuple):
        return kind, tuple(map(_plain, value))
    if kind is dict:
        return kind, tuple((_plain(key), _plain(each)) for key, each in value.items())
    if kind in (Tensor, np.ndarray):
        array = value.detach().cpu().numpy() if kind is Tensor else value
        if array.dtype.hasobject:
            raise TypeError("objects")
        return str(array.dtype), array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    if kind is functools.partial:
        return kind, _plain(value.func), _plain(value.args), _plain(value.keywords)
    if kind is types.FunctionType and not value.__closure__ and not vars(value):
        return value.__code__, id(value.__globals__), _plain(value.__defaults__), _plain(value.__kwdefaults__)
    if kind is types.BuiltinFunctionType and isinstance(value.__self__, type(None) | types.ModuleType | type):
        return kind, value
    raise TypeError(kind)


_tried: dict[Any, Tried] = {}


def tried(model: nn.Module, settings: tuple[Any, ...], rows: Tensor) -> Tried:
    """Try, once for models of the same settings, whether they can be stacked, and see that they are as alone.

    Parameters
    ----------
    model : nn.Module
        It stays as it is.
    settings : tuple
        See `settings_of`.
    rows : Tensor of shape (n, ...)
        Some of what it is to be trained on.
    """
    key = (settings, tuple(rows.shape[1:]))
    if key not in _tried:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule")  # where vmap would go through them one by one
            _tried[key] = _try(copy.deepcopy(model), rows)
    return _tried[key]


def _try(model: nn.Module, rows: Tensor) -> Tried:
    first, draw = next(model.parameters()), torch.Generator().manual_seed(_SEED)
    x = rows[torch.arange(_MODELS * _ROWS) % len(rows)].to(first).unflatten(0, (_MODELS, _ROWS))  # type: ignore[no-untyped-call]
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = _DROPPED
    models = [model, copy.deepcopy(model)]
    with torch.no_grad():
        for p in models[1].parameters():
            p.add_(torch.randn(p.shape, generator=draw).to(p), alpha=_APART)
    before = settings_of(model), [buffer.clone() for buffer in model.buffers()]
    try:
        alone = _Alone(models, x, draw)
    except Exception as error:
        return Tried(f"by itself it fails on rows of the data ({_said(error)})")
    reason = _changed(model, *before) or _useless(model, alone) or _why_not_together(models, x, alone)
    return Tried(reason, alone.out.shape[-1], alone.work, alone.kept)


def _useless(model: nn.Module, alone: _Alone) -> str:
    """Say why what a model gives by itself is nothing to compare with; empty where it is something."""
    if not all(torch.isfinite(each).all() for each in (alone.known, alone.out, *alone.slopes)):
        return "by itself it gives values that are not finite for rows of the data"
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    return f"its output does not depend on its parameter {unused[0]}" if unused else ""


def _why_not_together(models: list[nn.Module], x: Tensor, alone: _Alone) -> str:
    """Say why models cannot be run at once; empty where they give what they give by themselves."""
    try:
        thetas = [torch.stack([p.detach() for p in own]) for own in _side_by_side(models)]
        grads, out = [torch.zeros_like(theta) for theta in thetas], torch.empty_like(alone.out)
        network = Functional(models, thetas, grads)
        with torch.no_grad():
            known = network.evaluate(x[0])
            network.forward(x, out, None, [torch.Generator(x.device).manual_seed(_SEED) for _ in models])
        network.backward(alone.d)
    except Exception as error:
        return f"torch.func cannot run it for several sets of parameters ({_said(error)})"
    same = all(map(_alike, (known, out, *grads), (alone.known, alone.out, *alone.slopes)))
    return "" if same else "torch.func gives other outputs or gradients than the model alone"


class _Alone:
    """What models give by themselves, and what that takes.

    Attributes
    ----------
    known, out, d : Tensor, shape (K, rows, outputs)
        Outputs in evaluation for the first rows, those in training for the rows of each, and the gradients of them.
    slopes : list of Tensor, shape (K, ...)
        The gradients of the parameters.
    work, kept : int
        See `Tried`.
    """

    def __init__(self, models: list[nn.Module], x: Tensor, draw: torch.Generator) -> None:
        rows, outs, kept = x.shape[1], [], list[Tensor]()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.known = torch.stack([each.eval()(x[0]).reshape(rows, -1) for each in models])
        self.work = counter.get_total_flops() // (2 * len(models) * rows)

        def note(saved: Tensor) -> Tensor:
            kept.append(saved)
            return saved

        self.d = torch.randn(self.known.shape, generator=draw).to(self.known)
        for own, given, slope in zip(models, x, self.d, strict=True):
            torch.manual_seed(_SEED)
            kept.clear()
            with torch.autograd.graph.saved_tensors_hooks(note, lambda each: each):
                found = own.train()(given)
            found.backward(slope.view_as(found))
            outs.append(found.detach().reshape(rows, -1))
        weights = {p.data_ptr() for p in models[-1].parameters()}
        there = {each.data_ptr(): each.numel() for each in kept if each.data_ptr() not in weights}
        self.kept = sum(there.values()) // rows
        self.out = torch.stack(outs)
        self.slopes = [
            torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in own])
            for own in _side_by_side(models)
        ]


def _side_by_side(models: list[nn.Module]) -> list[tuple[nn.Parameter, ...]]:
    return list(zip(*(model.parameters() for model in models), strict=True))


def _changed(model: nn.Module, settings: tuple[Any, ...] | str, buffers: list[Tensor]) -> str:
    """Say what a model's forward pass has changed of it; empty for nothing."""
    if any(not torch.equal(old, new) for old, new in zip(buffers, model.buffers(), strict=True)):
        return "it keeps statistics of its batches"
    now = settings_of(model)
    if now == settings:
        return ""
    if isinstance(now, str):
        return f"its forward pass changes it: {now}"
    was = set(settings)
    changed = next((each for each in now if each not in was), ("", "something"))
    return f"its forward pass changes its attribute {'.'.join(filter(None, map(str, changed[:2])))}"


def _said(error: Exception) -> str:
    first, _, _ = str(error).strip().partition("\n")
    return f"{type(error).__name__}: {first}"


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max() + 1e-12)
