"""All of bpy.data as plain values, to compare before and after."""

import bpy

SKIPPED = {"rna_type", "bl_rna", "id_data", "original", "depsgraph"}
NOT_THE_USERS = {"window_managers", "screens", "workspaces", "brushes", "all_ids"}  # what the session shows, and its tools
DEEPEST = 7


def snapshot() -> dict[str, object]:
    """{path: value} of every property of every data-block, 'collection/name.property.property'."""
    _read_all()  # the first look at an attribute may change how 5.2 stores it
    return _read_all()


def _read_all() -> dict[str, object]:
    values: dict[str, object] = {}
    for prop in bpy.data.bl_rna.properties:
        if prop.type != "COLLECTION" or prop.identifier in NOT_THE_USERS:
            continue
        blocks = getattr(bpy.data, prop.identifier)
        values[prop.identifier] = sorted(block.name_full for block in blocks)
        for block in blocks:
            _Walk(values).walk(block, f"{prop.identifier}/{block.name_full}", 0)
    return values


def differences(before: dict[str, object], after: dict[str, object]) -> dict[str, tuple]:
    """{path: (before, after)} of what is not the same."""
    return {
        path: (before.get(path), after.get(path))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    }


class _Walk:
    """Through one data-block, each part of it once."""

    def __init__(self, values: dict[str, object]):
        self.values = values
        self.seen: set[tuple] = set()

    def walk(self, thing, path: str, depth: int) -> None:
        part = (thing.as_pointer(), thing.bl_rna.identifier)
        if part in self.seen or depth > DEEPEST:
            return
        self.seen.add(part)
        for prop in thing.bl_rna.properties:
            if prop.identifier not in SKIPPED:
                self._property(prop, getattr(thing, prop.identifier), f"{path}.{prop.identifier}", depth)

    def _property(self, prop, value, path: str, depth: int) -> None:
        if prop.type == "COLLECTION":
            self.values[path] = len(value)
            for index, item in enumerate(value):
                self._pointer(item, f"{path}[{index}]", depth)
        elif prop.type == "POINTER":
            self._pointer(value, path, depth)
        else:
            self.values[path] = tuple(_flat(value)) if getattr(prop, "is_array", False) else repr(value)

    def _pointer(self, value, path: str, depth: int) -> None:
        if value is None or isinstance(value, bpy.types.ID) and not _is_embedded(value):
            self.values[path] = value and value.name_full
        else:
            self.walk(value, path, depth + 1)


def _is_embedded(block: bpy.types.ID) -> bool:
    """A scene's own collection and node tree stand in no list of bpy.data."""
    return getattr(block, "is_embedded_data", False)


def _flat(value):
    for each in value:
        yield from _flat(each) if hasattr(each, "__len__") else (each,)
