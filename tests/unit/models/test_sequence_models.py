"""TCN and Transformer against PyTorch's own modules with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tradingbot_exp.models.tcn import TCN
from tradingbot_exp.models.transformer import Transformer


@pytest.mark.parametrize("length", [1, 2, 3, 7, 20, 33])
def test_the_tcn_gives_what_dilated_convolutions_give_for_the_last_bar(length: int) -> None:
    torch.manual_seed(0)
    model, x = TCN(5, 2, [8, 6, 6], "tanh").double(), torch.randn(4, length, 5, dtype=torch.float64)
    h = x.transpose(1, 2)
    for number, block in enumerate(model.blocks):
        dilation, z = 2**number, h
        for layer in (block.first, block.second):
            weight = layer.weight.view(layer.out_features, 3, -1).transpose(1, 2)
            padded = functional.pad(z, (2 * dilation, 0))
            z = torch.tanh(functional.conv1d(padded, weight, layer.bias, dilation=dilation))
        beside = h.transpose(1, 2) if isinstance(block.beside, nn.Identity) else block.beside(h.transpose(1, 2))
        h = torch.tanh(z + beside.transpose(1, 2))
    torch.testing.assert_close(model(x), model.head(h[:, :, -1]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("length", [1, 2, 20])
def test_the_transformer_gives_what_torchs_encoder_gives_for_the_last_bar(length: int) -> None:
    torch.manual_seed(0)
    width = 8
    model, x = Transformer(5, 2, [width] * 2, "gelu").double(), torch.randn(4, length, 5, dtype=torch.float64)
    plain = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(plain, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False).double()
    for own, theirs in zip(model.layers, encoder.layers, strict=True):
        attention = theirs.self_attn
        pairs = [
            (theirs.norm1, own.attention_norm), (theirs.norm2, own.inner_norm), (attention.out_proj, own.mixed),
            (theirs.linear1, own.inner[0]), (theirs.linear2, own.inner[2]),
        ]  # fmt: skip
        for there, here in pairs:
            there.load_state_dict(here.state_dict())
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.cat([own.query.weight, own.memory.weight]))
            attention.in_proj_bias.copy_(torch.cat([own.query.bias, own.memory.bias]))
    encoder.norm.load_state_dict(model.norm.state_dict())
    ahead = torch.arange(length - 1, -1, -1, dtype=torch.float64)[:, None]
    angles = ahead / 10_000 ** (torch.tensor([0.0, 2.0, 4.0, 6.0], dtype=torch.float64) / width)
    places: Tensor = torch.zeros(length, width, dtype=torch.float64)
    places[:, 0::2], places[:, 1::2] = angles.sin(), angles.cos()
    right = model.head(encoder(model.inputs(x) + places)[:, -1])
    torch.testing.assert_close(model(x), right, rtol=1e-11, atol=1e-12)
