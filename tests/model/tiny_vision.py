"""Tiny random networks of the architectures that look at pictures, saved as they are published."""

import torch


def depth_anything(folder, **options):
    """The architecture of Depth Anything V2 with random weights; saved as it is published."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(0)
    stages = [f"stage{index}" for index in range(1, 5)]
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=42, patch_size=14,
        out_features=stages, apply_layernorm=True, reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[4, 8, 16, 16],
        fusion_hidden_size=8, head_hidden_size=4, **options,
    )  # fmt: skip
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():
        model.head.conv3.bias.fill_(0.2)  # so that not all of it is sky
    model.save_pretrained(folder)
    return folder
