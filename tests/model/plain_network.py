"""The network written down a second time, in plain torch from the formulas and the weights' names, to compare with.

Float64 but for two places that the model itself computes in float32: sines of the time step, and the rotation's arithmetic
(which differs by 1e-7 and is done in float64 here).
"""

import math

import torch


class PlainNetwork:
    """``weights`` is a state dict of float64, ``config`` a transformer/config.json."""

    def __init__(self, weights: dict[str, torch.Tensor], config: dict):
        self.weights, self.config = weights, config
        self.heads, self.head = config["num_attention_heads"], config["attention_head_dim"]

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def layer_norm(self, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def time(self, timestep: torch.Tensor) -> torch.Tensor:
        """cos and sin of t / 10000^(i/half), through two linear layers with SiLU between."""
        half = self.heads * self.head // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = timestep.float()[:, None] * rates
        waves = torch.cat([angles.cos(), angles.sin()], 1).double()
        return self.linear("time_embedding.linear_2", silu(self.linear("time_embedding.linear_1", waves)))

    def embed(self, latents: torch.Tensor) -> torch.Tensor:
        """Every 2x2 patch of every frame becomes a token: frames first, then rows, then columns."""
        batch, frames, channels, height, width = latents.shape
        p, rows, columns = self.config["patch_size"], height // 2, width // 2
        weight = self.weights["patch_embed.proj.weight"].reshape(self.heads * self.head, -1)
        tokens = torch.empty(batch, frames, rows, columns, len(weight), dtype=torch.float64)
        for row in range(rows):
            for column in range(columns):
                patch = latents[..., row * p : row * p + p, column * p : column * p + p].reshape(batch, frames, channels * p * p)
                tokens[:, :, row, column] = patch @ weight.T + self.weights["patch_embed.proj.bias"]
        tokens = tokens.reshape(batch, -1, len(weight))
        places = self.weights.get("patch_embed.pos_embedding")
        return tokens if places is None else tokens + places[:, self.config["max_text_seq_length"] :]

    def embed_text(self, text: torch.Tensor) -> torch.Tensor:
        tokens = self.linear("patch_embed.text_proj", text)
        places = self.weights.get("patch_embed.pos_embedding")
        return tokens if places is None else tokens + places[:, : text.shape[1]]

    def attention(self, name: str, x: torch.Tensor, text_length: int, rotary) -> torch.Tensor:
        batch, length, _ = x.shape

        def by_head(part: str) -> torch.Tensor:
            return self.linear(f"{name}.to_{part}", x).reshape(batch, length, self.heads, self.head)

        query = self.layer_norm(f"{name}.norm_q", by_head("q"), 1e-6)
        key = self.layer_norm(f"{name}.norm_k", by_head("k"), 1e-6)
        if rotary is not None:
            query, key = rotated(query, text_length, rotary), rotated(key, text_length, rotary)
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(self.head)
        exponents = torch.exp(scores - scores.amax(-1, keepdim=True))
        mixed = torch.einsum("bhqk,bkhd->bqhd", exponents / exponents.sum(-1, keepdim=True), by_head("v"))
        return self.linear(f"{name}.to_out.0", mixed.reshape(batch, length, -1))

    def modulated(self, name: str, video, text, time):
        """adaLN: shift, scale and gate for video and text, in this order, from the time."""
        parts = self.linear(f"{name}.linear", silu(time))[:, None, :].chunk(6, -1)
        shift, scale, gate, text_shift, text_scale, text_gate = parts
        video = self.layer_norm(f"{name}.norm", video, 1e-5) * (1 + scale) + shift
        text = self.layer_norm(f"{name}.norm", text, 1e-5) * (1 + text_scale) + text_shift
        return torch.cat([text, video], 1), gate, text_gate

    def block(self, name: str, video, text, time, rotary):
        length = text.shape[1]
        tokens, gate, text_gate = self.modulated(f"{name}.norm1", video, text, time)
        tokens = self.attention(f"{name}.attn1", tokens, length, rotary)
        video, text = video + gate * tokens[:, length:], text + text_gate * tokens[:, :length]
        tokens, gate, text_gate = self.modulated(f"{name}.norm2", video, text, time)
        tokens = self.linear(f"{name}.ff.net.2", gelu_tanh(self.linear(f"{name}.ff.net.0.proj", tokens)))
        return video + gate * tokens[:, length:], text + text_gate * tokens[:, :length]

    def velocity(self, latents, text, timestep, tracking, rotary=None) -> torch.Tensor:
        """The whole network. ``tracking`` None: the base model."""
        time, h, txt = self.time(timestep), self.embed(latents), self.embed_text(text)
        q = None if tracking is None else self.linear("initial_combine_linear", h + self.embed(tracking))
        for i in range(self.config["num_layers"]):
            h, txt = self.block(f"transformer_blocks.{i}", h, txt, time, rotary)
            if q is not None and i < self.config["num_tracking_blocks"]:
                side, _ = self.block(f"transformer_blocks_copy.{i}", q, txt, time, rotary)
                q = self.linear(f"combine_linears.{i}", side)
                h = h + q
        shift, scale = self.linear("norm_out.linear", silu(time))[:, None, :].chunk(2, -1)
        h = self.layer_norm("norm_out.norm", self.layer_norm("norm_final", h, 1e-5), 1e-5) * (1 + scale) + shift
        return self.unpatched(self.linear("proj_out", h), latents.shape)

    def unpatched(self, tokens: torch.Tensor, shape) -> torch.Tensor:
        """Each token's values are channel, then row, then column of its patch."""
        batch, frames, _, height, width = shape
        p, channels = self.config["patch_size"], self.config["out_channels"]
        tokens = tokens.reshape(batch, frames, height // p, width // p, channels, p, p)
        out = torch.empty(batch, frames, channels, height, width, dtype=torch.float64)
        for row in range(height // p):
            for column in range(width // p):
                out[..., row * p : row * p + p, column * p : column * p + p] = tokens[:, :, row, column]
        return out


def silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def rotated(x: torch.Tensor, text_length: int, rotary) -> torch.Tensor:
    """Turn each pair (x0, x1) of the video tokens [B,S,heads,D] by its angle; text stays."""
    cos, sin = (part.double()[None, :, None, 0::2] for part in rotary)
    text, video = x[:, :text_length], x[:, text_length:]
    even, odd = video[..., 0::2], video[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)
    return torch.cat([text, turned], 1)


def angles(head: int, frames: int, rows: int, columns: int) -> torch.Tensor:
    """Rotation angles [frames*rows*columns, head/2]: a quarter of the head for time, 3/8 for each of row and column."""
    time_size, side_size = head // 4, head // 8 * 3

    def turns(count: int, size: int) -> torch.Tensor:
        rates = 1.0 / 10000 ** (torch.arange(0, size, 2).double() / size)
        return torch.arange(count).double()[:, None] * rates

    t = turns(frames, time_size)[:, None, None].expand(-1, rows, columns, -1)
    y = turns(rows, side_size)[None, :, None].expand(frames, -1, columns, -1)
    x = turns(columns, side_size)[None, None].expand(frames, rows, -1, -1)
    return torch.cat([t, y, x], -1).reshape(frames * rows * columns, -1)
