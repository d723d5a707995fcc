"""The LSTM: stacked recurrent layers over the last L bars, then a Linear layer on the last step."""

from __future__ import annotations

from torch import nn

from tradingbot_exp.models._recurrent import RecurrentModel
from tradingbot_exp.models.registry import register


@register("lstm")
class LSTM(RecurrentModel):
    """Stacked LSTM layers: see `tradingbot_exp.models._recurrent.RecurrentModel`."""

    kind = nn.LSTM
