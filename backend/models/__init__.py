"""The model: network, weights, sampling, memory plans. Its modules import torch, so only ``load`` and commands import them."""
