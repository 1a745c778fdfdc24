"""What is rendered and cannot be followed, or not as it is seen: named in the take, never silently dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import bpy
import msgspec

from .surfaces import Look, displaces

KINDS = {
    "VOLUME": "a volume has no surface",
    "CURVES": "hair has no surface",
    "GREASEPENCIL": "grease pencil has no surface",
    "GPENCIL": "grease pencil has no surface",
    "POINTCLOUD": "points have no surface",
}
NAMED = 6


class Untracked(msgspec.Struct, frozen=True):
    """An object and why it, or what of it, is not tracked."""

    name: str
    reason: str


def why_object(thing: bpy.types.Object) -> str:
    """Why an object that is no mesh is not tracked; empty for what renders nothing."""
    return KINDS.get(thing.type, "")


def why_surface(thing: bpy.types.Object, looks: tuple[Look, ...]) -> Iterator[str]:
    """What of an evaluated mesh object the capture draws otherwise than a render does."""
    if "see-through" in looks:
        yield "its material is transparent by shading; it is drawn as solid"
    if "invisible" in looks:
        yield "its material is fully transparent; it is not drawn"
    if "holdout" in looks and set(looks) != {"holdout"}:
        yield "one of its materials is a holdout; it is drawn as solid"
    if any(material and displaces(material) for material in thing.data.materials):
        yield "its material displaces the surface, which only the renderer sees"
    if _subdivides_adaptively(thing):
        yield "adaptive subdivision is the renderer's own; the modifier's levels are tracked"
    if any(_renders_hair(system) for system in thing.particle_systems):
        yield "its particle hair has no surface"


def sentences(found: Iterable[Untracked]) -> list[str]:
    """One sentence a reason."""
    names: dict[str, list[str]] = {}
    for each in found:
        names.setdefault(each.reason, []).append(each.name)
    return [f"Not tracked: {_listed(held)} ({reason})." for reason, held in names.items()]


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _subdivides_adaptively(thing: bpy.types.Object) -> bool:
    """4.5 keeps the switch with Cycles' object settings, 5.0 and later in the modifier."""
    if any(getattr(modifier, "use_adaptive_subdivision", False) for modifier in thing.modifiers):
        return True
    return bool(getattr(getattr(thing, "cycles", None), "use_adaptive_subdivision", False))


def _renders_hair(system: bpy.types.ParticleSystem) -> bool:
    return system.settings.type == "HAIR" and system.settings.render_type == "PATH"
