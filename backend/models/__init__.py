"""The model: network, weights, sampling, memory plans. Its modules import torch, so only ``load`` and commands import them."""

import logging

# What these say as they are imported is about parts that are not used here, and would stand before every answer of `das`.
for _name in ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
    logging.getLogger(_name).setLevel(logging.ERROR)
