"""A motion from one armature to another whose bones have the same names.

Where the bones lie alike in both, the action fits as it is. Otherwise each bone points where the motion's does, whatever their
rest poses: a file of a motion alone often has the pose of some frame as its rest. Importers give bones other axes, the same for
all, and at times another roll, which both are taken out. The reference program lets the motion's armature bend the mesh, which
asks for equal rest poses.
"""

from __future__ import annotations

import itertools
import math

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from ..camera_import import animate

ALIKE_DEGREES, ALIKE_SHARE = 0.5, 0.02  # the share is of a bone's mean length
SAME_WAY_DEGREES = 1.0


class Retarget:
    """``pairs`` leads the motion's bones to the character's."""

    def __init__(self, origin: bpy.types.Object, target: bpy.types.Object, pairs: dict[str, str]):
        self.origin, self.target = origin, target
        self.source = {own: name for name, own in pairs.items()}
        bpy.context.view_layer.update()
        rests = {own: (_rest(origin, name), _rest(target, own)) for own, name in self.source.items()}
        self._ratio = _size(target) / _size(origin)
        apart = max((there.translation * self._ratio - here.translation).length for there, here in rests.values())
        turned = max(_angle(there, here) for there, here in rests.values())
        self._same_joints = apart <= ALIKE_SHARE * _size(target)
        self.fits = self._same_joints and turned <= ALIKE_DEGREES and abs(self._ratio - 1) < 1e-3
        axes = _axes_between(list(rests.values()))
        self._turns = {own: _turn(there, here, axes) for own, (there, here) in rests.items()}

    def bake(self, scene: bpy.types.Scene, first: int, last: int) -> None:
        """Key the character's bones as the motion's armature, which is in the scene, moves from frame to frame."""
        bones = sorted(self.target.data.bones, key=lambda bone: len(bone.parent_recursive))
        frames = range(first, last + 1)
        keys = {bone.name: np.zeros((len(frames), 7)) for bone in bones if bone.name in self.source}
        for index, frame in enumerate(frames):
            scene.frame_set(frame)
            for name, local in self._posed(bones).items():
                place, turn, _ = local.decompose()
                if index and turn.dot(Quaternion(keys[name][index - 1, 3:])) < 0:
                    turn.negate()
                keys[name][index] = (*place, *turn)
        self.target.animation_data.action = bpy.data.actions.new(f"{self.target.name} motion")
        for name, values in keys.items():
            bone = self.target.pose.bones[name]
            bone.rotation_mode = "QUATERNION"
            path = f'pose.bones["{bpy.utils.escape_identifier(name)}"]'
            animate(self.target, f"{path}.location", frames, values[:, :3])
            animate(self.target, f"{path}.rotation_quaternion", frames, values[:, 3:])

    def _posed(self, bones: list[bpy.types.Bone]) -> dict[str, Matrix]:
        """Each bone's own transform at the frame that is shown, its parents' taken away."""
        to_target = self.target.matrix_world.inverted()
        posed: dict[str, Matrix] = {}
        own: dict[str, Matrix] = {}
        for bone in bones:
            above = {"parent_matrix": posed[bone.parent.name], "parent_matrix_local": bone.parent.matrix_local} if bone.parent else {}
            posed[bone.name] = bone.convert_local_to_pose(Matrix(), bone.matrix_local, **above)
            if bone.name in self.source:
                wanted = self.origin.matrix_world @ self.origin.pose.bones[self.source[bone.name]].matrix
                place, turn = wanted.translation * self._ratio, wanted.to_quaternion() @ self._turns[bone.name]
                follows = self._same_joints or not bone.parent
                at = to_target @ place if follows else posed[bone.name].translation
                scale = posed[bone.name].to_scale()
                posed[bone.name] = Matrix.LocRotScale(at, to_target.to_quaternion() @ turn, scale)
                own[bone.name] = bone.convert_local_to_pose(posed[bone.name], bone.matrix_local, invert=True, **above)
        return own


def _rest(armature: bpy.types.Object, bone: str) -> Matrix:
    return armature.matrix_world @ armature.data.bones[bone].matrix_local


def _axes_between(rests: list[tuple[Matrix, Matrix]]) -> Quaternion:
    """The quarter turns of axes that bring most bones of one armature to those of another."""
    turns = [there.to_quaternion().inverted() @ here.to_quaternion() for there, here in rests]
    return max(QUARTER_TURNS, key=lambda axes: float(np.median([abs(axes.dot(turn)) for turn in turns])))


def _turn(there: Matrix, here: Matrix, axes: Quaternion) -> Quaternion:
    """What turns a bone of the motion into the character's: the axes, and the roll where both point the same way."""
    rest, own = there.to_quaternion() @ axes, here.to_quaternion()
    along = Vector((0, 1, 0))
    if (rest @ along).angle(own @ along) <= math.radians(SAME_WAY_DEGREES):
        return there.to_quaternion().inverted() @ own
    return axes


def _quarter_turns() -> list[Quaternion]:
    """The 24 rotations that bring axes to axes."""
    turns = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = Matrix([[signs[row] * (order[row] == column) for column in range(3)] for row in range(3)])
            if matrix.determinant() > 0:
                turns.append(matrix.to_quaternion())
    return turns


QUARTER_TURNS = _quarter_turns()


def _size(armature: bpy.types.Object) -> float:
    """The mean length of the bones, in the world."""
    scale = armature.matrix_world.median_scale
    return max(float(np.mean([bone.length for bone in armature.data.bones])) * scale, 1e-9)


def _angle(one: Matrix, other: Matrix) -> float:
    return math.degrees(2 * math.acos(min(1.0, abs(one.to_quaternion().dot(other.to_quaternion())))))
