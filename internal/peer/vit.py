"""The shape network of showers in PyTorch: a vision transformer with adaLN-Zero (arXiv 2405.09629), parameters named as in package calo."""
import math

import torch
from torch import nn
from torch.nn import functional as F


def norm(h, scale, shift):
    return F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift


class Block(nn.Module):
    def __init__(self, width, heads, ratio):
        super().__init__()
        self.heads = heads
        self.modulation, self.qkv, self.proj = nn.Linear(width, 6 * width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, h, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).unsqueeze(1).chunk(6, -1)
        b, t, w = h.shape
        q, k, v = self.qkv(norm(h, scale1, shift1)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, w)
        h = h + gate1 * self.proj(a)
        return h + gate2 * self.down(F.gelu(self.up(norm(h, scale2, shift2)), approximate="tanh"))


class ViT(nn.Module):
    def __init__(self, patch, extra, times, condition, grid, width, depth, heads, ratio, published):
        super().__init__()
        self.times, self.grid = times, grid
        pair = lambda n: nn.ModuleList([nn.Linear(n, width), nn.Linear(width, width)])
        self.x, self.condition, self.time = nn.Linear(patch + extra, width), pair(condition), pair(times)
        if published:
            self.frequencies = nn.Parameter(torch.randn(width // 2))
            self.register_buffer("index", torch.stack(torch.meshgrid(*[torch.arange(n) / n for n in grid], indexing="ij"), -1).view(-1, 3), persistent=False)
        else:
            self.positions = nn.Parameter(torch.randn(math.prod(grid), width))
        for i in range(depth):
            setattr(self, f"block{i}", Block(width, heads, ratio))
        self.blocks = [getattr(self, f"block{i}") for i in range(depth)]
        self.modulation, self.out = nn.Linear(width, 2 * width), nn.Linear(width, patch)

    def place(self):
        if hasattr(self, "positions"):
            return self.positions
        layer, sector, ring = (2 * math.pi * self.index).unsqueeze(-1).mul(self.frequencies.view(3, -1)).unbind(1)
        return torch.cat([f(a) for a in (ring, sector, layer) for f in (torch.sin, torch.cos)], -1)

    def forward(self, x, items):
        embed = lambda pair, v: pair[1](F.silu(pair[0](v)))
        c = F.silu(embed(self.time, items[:, :self.times]) + embed(self.condition, items[:, self.times:]))
        h = self.x(x) + self.place()
        for b in self.blocks:
            h = b(h, c)
        shift, scale = self.modulation(c).unsqueeze(1).chunk(2, -1)
        return self.out(norm(h, scale, shift))
