"""What a network is, in words: a short hash of its architecture, and a table of its layers."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import TrackingError
from tradingbot_exp.runtime.text import qualified_name

if TYPE_CHECKING:
    from torch import nn


def model_version(model: nn.Module) -> str:
    """Hash the architecture and the source of the modules of the class and its bases; the weights' values do not count.

    Returns
    -------
    str
        12 hexadecimal digits. Torch's own source is left out: its version is recorded with the environment.
    """
    cls = type(model)
    shapes = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
    sources = dict.fromkeys(filter(None, map(_source, cls.__mro__)))
    text = "\n".join([qualified_name(cls), repr(model), repr(shapes), *(sources or [""])])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _source(cls: type) -> str:
    """Return the source of the module that defines `cls`, or an empty string if it has none to show."""
    if cls.__module__.partition(".")[0] == "torch":
        return ""
    try:
        return inspect.getsource(sys.modules[cls.__module__])
    except (KeyError, OSError, TypeError):  # typed into an interpreter or a notebook
        return ""


def model_summary(model: nn.Module, input_shape: Sequence[int]) -> str:
    """Tabulate a network's layers, their output shapes and parameters.

    Parameters
    ----------
    model : nn.Module
        Run once, on one row of zeros, in evaluation mode; left as it was.
    input_shape : sequence of int
        The shape of one row of input, without n: (F,) or (L, F).

    Returns
    -------
    str
        Plain text, one layer a line, then the totals; ends with a newline.
    """
    shapes = _output_shapes(model, input_shape)
    rows = [("layer", "output shape", "parameters"), ("input", _shape((1, *input_shape)), "-")]
    for name, module in model.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        if own or not any(module.children()):
            label = f"{name or 'model'} ({type(module).__name__})"
            rows.append((label, shapes.get(name, "not run"), f"{own:,}" if own else "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{layer:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}" for layer, shape, count in rows]
    rule = "-" * len(lines[0])
    total = sum(p.numel() for p in model.parameters())
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    return "\n".join(
        [
            f"{type(model).__name__}, version {model_version(model)}",
            "",
            lines[0],
            rule,
            *lines[1:],
            rule,
            f"parameters: {total:,} ({total - frozen:,} trained, {frozen:,} frozen)",
            "",
        ]
    )


def _output_shapes(model: nn.Module, input_shape: Sequence[int]) -> dict[str, str]:
    """Run one row of zeros and note what each named layer gave."""
    import torch

    from tradingbot_exp.models._modes import evaluating

    shapes: dict[str, str] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, torch.Tensor):
                shapes[name] = _shape(first.shape)

        return hook

    parameter = next(model.parameters(), torch.zeros(()))
    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    try:
        with evaluating(model):
            model(torch.zeros((1, *input_shape), dtype=parameter.dtype, device=parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _shape(shape: Sequence[int]) -> str:
    """Write a shape with n for the rows: ``(n, 64)``."""
    return f"({', '.join(['n', *map(str, shape[1:])])})" if len(shape) > 1 else "(n,)"


def row_shape_of(model: nn.Module) -> tuple[int, ...]:
    """Return the shape of one row that a model takes, by its first layer: (F,), or (1, F) of a recurrent one.

    Raises
    ------
    TrackingError
        Its layers do not tell.
    """
    from torch import nn

    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            return (layer.in_features,)
        if isinstance(layer, nn.LSTM | nn.GRU | nn.RNN):
            return (1, layer.input_size)
    raise TrackingError("The model's input shape is not known from its layers: give input_shape=(…) of one row.")
