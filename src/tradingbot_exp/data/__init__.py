"""Market data: from a `DataConfig` to scaled, split, fingerprinted arrays that a model can be trained on.

`prepare_data` is the one call that training needs. Its steps are usable by themselves: `sources.load_bars`
and `sources.load_table` read and check, `features.compute_features` computes, `splits.split_rows` cuts in
time order, `fingerprint.fingerprint` identifies, `frequency.describe_frequency` tells how often bars come.
`folds.fold_views` gives the data as each fold of a validation scheme sees them.

The public names are imported when they are first used, so importing the package loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradingbot_exp.runtime.lazy import lazily

if TYPE_CHECKING:
    from tradingbot_exp.data.dataset import PreparedData, prepare_data
    from tradingbot_exp.data.splits import Block

__all__ = ["Block", "PreparedData", "prepare_data"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Block": "tradingbot_exp.data.splits",
        "PreparedData": "tradingbot_exp.data.dataset",
        "prepare_data": "tradingbot_exp.data.dataset",
    },
)
