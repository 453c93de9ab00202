"""Divided TimeSformer as facebookresearch/TimeSformer writes it, without einops, and its files.

An independent network to compare with: fused q, k, v; tokens patch-major and frame-minor; two
linear layers after the temporal attention.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, biased: bool) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=biased), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        parts = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        scores = ((q @ k.transpose(-2, -1)) * self.scale).softmax(-1)
        result: Tensor = self.proj((scores @ v).transpose(1, 2).reshape(b, n, width))
        return result


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return result


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, biased: bool) -> None:
        super().__init__()
        self.norm1, self.norm2, self.temporal_norm1 = (
            nn.LayerNorm(width, eps=1e-6) for _ in range(3)
        )
        self.attn, self.temporal_attn = (_Attention(width, heads, biased) for _ in range(2))
        self.temporal_fc, self.mlp = nn.Linear(width, width), _Mlp(width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        b, count, m = x.shape
        p, t = (count - 1) // frames, frames
        first, xt = x[:, :1], x[:, 1:]
        found = self.temporal_attn(self.temporal_norm1(xt.reshape(b * p, t, m)))
        xt = xt + self.temporal_fc(found.reshape(b, p * t, m))
        cls = first.repeat(1, t, 1).reshape(b * t, 1, m)
        xs = xt.reshape(b, p, t, m).permute(0, 2, 1, 3).reshape(b * t, p, m)
        found = self.attn(self.norm1(torch.cat([cls, xs], 1)))
        cls = found[:, 0].reshape(b, t, m).mean(1, keepdim=True)
        xs = found[:, 1:].reshape(b, t, p, m).permute(0, 2, 1, 3).reshape(b, p * t, m)
        x = torch.cat([first, xt], 1) + torch.cat([cls, xs], 1)
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class _Patches(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)


@dataclass(frozen=True)
class Size:
    """What a network is built by."""

    frames: int = 4
    classes: int = 5
    px: int = 64
    patch: int = 16
    width: int = 64
    depth: int = 2
    heads: int = 1
    biased: bool = True


class UpstreamTimeSformer(nn.Module):
    """(N, T*3, S, S) to logits."""

    def __init__(self, size: Size, *, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.size, width = size, size.width
        self.patch_embed = _Patches(width, size.patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        places = (size.px // size.patch) ** 2
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + places, width))
        self.time_embed = nn.Parameter(torch.randn(1, size.frames, width))
        self.blocks = nn.ModuleList(
            _Block(width, size.heads, size.biased) for _ in range(size.depth)
        )
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, size.classes)
        for name, parameter in self.named_parameters():
            if parameter.ndim != 1:
                fan_in = parameter[0].numel() if parameter.ndim != 3 else 4
                nn.init.normal_(parameter, std=(2 if "qkv" in name else 1) * fan_in**-0.5)
            elif name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, px = len(x), self.size.frames, self.size.px
        tokens = self.patch_embed.proj(x.reshape(b * t, 3, px, px)).flatten(2).transpose(1, 2)
        _, p, m = tokens.shape
        tokens = torch.cat([self.cls_token.expand(b * t, -1, -1), tokens], 1) + self.pos_embed
        cls = tokens[:b, :1]
        tokens = tokens[:, 1:].reshape(b, t, p, m).permute(0, 2, 1, 3).reshape(b * p, t, m)
        tokens = torch.cat([cls, (tokens + self.time_embed).reshape(b, p * t, m)], 1)
        for block in self.blocks:
            tokens = block(tokens, t)
        result: Tensor = self.head(self.norm(tokens)[:, 0])
        return result

    def answers(self, clips: np.ndarray) -> np.ndarray:
        """Return logits of (K, T*3, S, S) clips."""
        found: np.ndarray = self(torch.from_numpy(clips)).numpy()
        return found


def random_clips(size: Size, count: int = 2) -> np.ndarray:
    shape = (count, 3 * size.frames, size.px, size.px)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def write_facebook(model: nn.Module, path: Path, *, cfg: object = "", prefix: str = "") -> Path:
    """Write a file as facebookresearch/TimeSformer leaves it."""
    state = {f"{prefix}model.{name}": t for name, t in model.state_dict().items()}
    torch.save({"epoch": 1, "model_state": state, "optimizer_state": {}, "cfg": cfg}, path)
    return path


_HF = {
    r"^(pos)_embed$": "embeddings.position_embeddings",
    r"^(time)_embed$": "embeddings.time_embeddings",
    r"^(cls)_token$": "embeddings.cls_token",
    r"^(patch_embed)\.proj\.": "embeddings.patch_embeddings.projection.",
    r"^(norm)\.": "layernorm.",
    r"^blocks\.(\d+)\.temporal_norm1\.": r"encoder.layer.\1.temporal_layernorm.",
    r"^blocks\.(\d+)\.temporal_attn\.qkv\.": r"encoder.layer.\1.temporal_attention.attention.qkv.",
    r"^blocks\.(\d+)\.temporal_attn\.proj\.": r"encoder.layer.\1.temporal_attention.output.dense.",
    r"^blocks\.(\d+)\.temporal_fc\.": r"encoder.layer.\1.temporal_dense.",
    r"^blocks\.(\d+)\.norm1\.": r"encoder.layer.\1.layernorm_before.",
    r"^blocks\.(\d+)\.attn\.qkv\.": r"encoder.layer.\1.attention.attention.qkv.",
    r"^blocks\.(\d+)\.attn\.proj\.": r"encoder.layer.\1.attention.output.dense.",
    r"^blocks\.(\d+)\.norm2\.": r"encoder.layer.\1.layernorm_after.",
    r"^blocks\.(\d+)\.mlp\.fc1\.": r"encoder.layer.\1.intermediate.dense.",
    r"^blocks\.(\d+)\.mlp\.fc2\.": r"encoder.layer.\1.output.dense.",
}


def transformers_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights under the names of transformers."""

    def rename(name: str) -> str:
        for pattern, theirs in _HF.items():
            if re.match(pattern, name):
                return f"timesformer.{re.sub(pattern, theirs, name, count=1)}"
        return name.replace("head.", "classifier.")

    return {rename(name): tensor for name, tensor in model.state_dict().items()}
