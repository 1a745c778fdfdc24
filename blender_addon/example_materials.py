"""Materials of the example: painted images, so that Workbench, EEVEE and Cycles all show the same pattern."""

from __future__ import annotations

import bpy
import numpy as np


def image_material(name: str, pixels: np.ndarray, roughness: float = 0.7) -> bpy.types.Material:
    """A material with an image of its own, packed into the file. ``pixels`` f32 [H,W,3] sRGB, row 0 at the bottom."""
    material = _material(name, pixels.mean(axis=(0, 1)), roughness)
    nodes = material.node_tree.nodes
    texture = nodes.new("ShaderNodeTexImage")
    texture.image = _packed_image(name, pixels)
    material.node_tree.links.new(texture.outputs["Color"], _shader(material).inputs["Base Color"])
    nodes.active = texture
    return material


def plain_material(name: str, colour: tuple[float, float, float], roughness: float = 0.5) -> bpy.types.Material:
    """A material of one sRGB colour."""
    return _material(name, np.array(colour), roughness)


def _material(name: str, colour: np.ndarray, roughness: float) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # from 5.0 on every material has its nodes from the start
        material.use_nodes = True
    linear = (*linear_from_srgb(colour), 1.0)
    material.diffuse_color = linear
    _shader(material).inputs["Base Color"].default_value = linear
    _shader(material).inputs["Roughness"].default_value = roughness
    return material


def _shader(material: bpy.types.Material) -> bpy.types.Node:
    return next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")


def _packed_image(name: str, pixels: np.ndarray) -> bpy.types.Image:
    height, width, _ = pixels.shape
    image = bpy.data.images.new(name, width, height)
    image.pixels.foreach_set(np.dstack([pixels, np.ones((height, width))]).astype(np.float32).ravel())
    image.update()
    image.pack()
    return image


def linear_from_srgb(colour: np.ndarray) -> np.ndarray:
    """The sRGB transfer function's inverse (IEC 61966-2-1), values in [0, 1]."""
    colour = np.asarray(colour, np.float64)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def set_uv(mesh: bpy.types.Mesh, uv: np.ndarray) -> None:
    """The mesh's one UV map: f32 [loops,2]."""
    layer = mesh.uv_layers.new(name="UVMap") if not mesh.uv_layers else mesh.uv_layers[0]
    layer.data.foreach_set("uv", np.ascontiguousarray(uv, np.float32).ravel())


def mixed(first: tuple, second: tuple, share: np.ndarray) -> np.ndarray:
    """Colours between two, f32 [...,3], by ``share`` in [0, 1]."""
    share = np.asarray(share, np.float32)[..., None]
    return np.array(first, np.float32) * (1 - share) + np.array(second, np.float32) * share


def checker(tiles: int, pixels_per_tile: int, dark: tuple, light: tuple) -> np.ndarray:
    """A checkerboard whose tiles all differ a little, f32 [H,W,3]."""
    row, column = np.mgrid[0:tiles, 0:tiles]
    tint = np.random.default_rng(7).uniform(-0.22, 0.22, (tiles, tiles))
    board = mixed(dark, light, np.clip((row + column) % 2 * 0.7 + 0.15 + tint, 0, 1))
    large = np.repeat(np.repeat(board, pixels_per_tile, axis=0), pixels_per_tile, axis=1)
    edge = np.arange(tiles * pixels_per_tile) % pixels_per_tile == 0
    large[edge[:, None] | edge[None, :]] *= 0.8
    return large


def bricks(rows: int, columns: int, brick: tuple, mortar: tuple) -> np.ndarray:
    """A brick wall in running bond, f32 [16*rows, 32*columns, 3]."""
    y, x = np.mgrid[0 : 16 * rows, 0 : 32 * columns]
    course = y // 16
    shifted = (x + course % 2 * 16) % (32 * columns)
    shade = np.random.default_rng(3).uniform(0.8, 1.1, (rows, columns))[course, shifted // 32]
    wall = np.array(brick, np.float32) * shade[..., None].astype(np.float32)
    wall[(y % 16 < 2) | (shifted % 32 < 2)] = mortar
    return np.clip(wall, 0, 1)


def stripes(colours: list[tuple], width: int, height: int) -> np.ndarray:
    """Upright stripes with white caps, as on a beach ball: f32 [height,width,3]."""
    band = np.arange(width) * len(colours) // width
    ball = np.repeat(np.array(colours, np.float32)[band][None], height, axis=0)
    cap = height // 12
    ball[:cap] = ball[-cap:] = 0.97
    return ball


def speckles(size: int, dark: tuple, light: tuple, seed: int) -> np.ndarray:
    """Blotches of a few sizes, as on leaves: f32 [size,size,3]."""
    noise = np.random.default_rng(seed)
    coarse = np.kron(noise.uniform(0, 1, (16, 16)), np.ones((size // 16, size // 16)))
    fine = np.kron(noise.uniform(0, 1, (64, 64)), np.ones((size // 64, size // 64)))
    return mixed(dark, light, 0.45 * coarse + 0.55 * fine)
