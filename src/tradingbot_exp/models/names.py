"""The names that a configuration may use for models and activations, known without loading torch."""

from __future__ import annotations

import pkgutil
from pathlib import Path

ACTIVATION_CLASSES: dict[str, str] = {
    "relu": "ReLU",
    "tanh": "Tanh",
    "gelu": "GELU",
    "silu": "SiLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
}
"""Name in the configuration -> class in ``torch.nn``."""

ACTIVATIONS: tuple[str, ...] = tuple(ACTIVATION_CLASSES)

_NOT_MODELS = frozenset({"names", "registry", "summary"})
MODEL_KINDS = tuple(
    sorted(
        module.name
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
        if module.name not in _NOT_MODELS and not module.name.startswith("_")
    )
)
"""The models of this package: a file ``foo.py`` in this folder is the model ``foo``."""
_registered: set[str] = set()  # names registered from outside this folder, see `registry.register`


def model_names() -> tuple[str, ...]:
    """Name every model that `build_model` can build.

    Returns
    -------
    tuple of str
        Sorted: those of this package, and those that other code registered.
    """
    return tuple(sorted({*MODEL_KINDS, *_registered}))
