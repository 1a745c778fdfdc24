"""Runs in the window's Blender (--python): answers the session's questions, and clocks the extension's callbacks.

A question is one line of JSON on a socket: how often Blender shall go round its loop before it answers, and a Python
expression, or statements. The answer is one line too. The session acts by pointer and keys alone: it asks where regions are,
which button the pointer is on, and what has come of it.
"""

import json
import socket
import sys
import traceback
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from clock import Clock  # noqa: E402

SECONDS_BETWEEN_LOOKS = 0.002
MODULE = "bl_ext.user_default.diffusion_as_shader"


class Witness:
    """The socket's end in Blender; ``look`` is a timer that outlives the loading of files."""

    def __init__(self, path: str):
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen()
        self._server.setblocking(False)
        self._peer: socket.socket | None = None
        self._unread = b""
        self._asked: tuple[int, str] | None = None

    def look(self) -> float:
        if self._peer is None:
            self._accept()
        elif self._asked is None:
            self._read()
        if self._asked:
            self._go_on(*self._asked)
        return SECONDS_BETWEEN_LOOKS

    def _accept(self) -> None:
        try:
            self._peer, _ = self._server.accept()
        except BlockingIOError:
            return
        self._peer.setblocking(False)

    def _read(self) -> None:
        try:
            self._unread += self._peer.recv(1 << 16)
        except BlockingIOError:
            return
        if b"\n" in self._unread:
            line, self._unread = self._unread.split(b"\n", 1)
            self._asked = tuple(json.loads(line))

    def _go_on(self, rounds: int, question: str) -> None:
        if rounds > 1:
            self._asked = rounds - 1, question
            return
        self._asked = None
        self._peer.setblocking(True)
        self._peer.sendall(json.dumps(answer(question), default=str).encode() + b"\n")
        self._peer.setblocking(False)


def answer(question: str) -> dict:
    """{"value": ...} or {"error": a traceback}. What the question itself calls is not clocked."""
    clock.pausing = True
    try:
        try:
            return {"value": eval(question, globals())}
        except SyntaxError:
            exec(question, globals())
            return {"value": None}
    except Exception:
        return {"error": traceback.format_exc()}
    finally:
        clock.pausing = False


def window() -> bpy.types.Window:
    """The one that was opened last, which lies above the others."""
    return bpy.context.window_manager.windows[-1]


def place(area_type: str, region_type: str = "WINDOW") -> tuple:
    """Window, area and region: of the largest area of a kind."""
    above = window()
    areas = [area for area in above.screen.areas if area.type == area_type]
    area = max(areas, key=lambda area: area.width * area.height)
    return above, area, next(region for region in area.regions if region.type == region_type)


def rectangle(area_type: str, region_type: str = "WINDOW") -> list[int]:
    """Left, top, width and height on the screen, counted from its upper left corner."""
    above, _, region = place(area_type, region_type)
    return [above.x + region.x, screen_height - above.y - region.y - region.height, region.width, region.height]


def under_pointer(area_type: str, region_type: str) -> str:
    """What the button under the pointer does, in Blender's own words: an operator's call, or a property's full path."""
    above, area, region = place(area_type, region_type)
    manager = bpy.context.window_manager
    kept, manager.clipboard = manager.clipboard, ""
    with bpy.context.temp_override(window=above, area=area, region=region):
        if bpy.ops.ui.copy_python_command_button.poll():
            bpy.ops.ui.copy_python_command_button()
        elif bpy.ops.ui.copy_data_path_button.poll():
            bpy.ops.ui.copy_data_path_button(full_path=True)
    found, manager.clipboard = manager.clipboard, kept
    return found


def draws(panel: str) -> int:
    """How often a panel of the extension has been drawn, which a closed one is not."""
    return sum(call.name.endswith(f"{panel}.draw") for call in clock.calls)


def is_operator(name: str) -> bool:
    """Whether the extension has an operator of this name, such as das.generate."""
    module, _, rest = name.partition(".")
    return hasattr(bpy.types, f"{module.upper()}_OT_{rest}")


def can(operator: str, area_type: str, region_type: str) -> bool:
    """Whether an operator, such as das.generate, would do anything there."""
    above, area, region = place(area_type, region_type)
    module, name = operator.split(".")
    with bpy.context.temp_override(window=above, area=area, region=region):
        return getattr(getattr(bpy.ops, module), name).poll()


def executed(operator: str) -> int:
    """How often an operator of the extension has been called."""
    module, name = operator.split(".")
    return clock.executed[operator] + clock.executed[f"{module.upper()}_OT_{name}"]


def view(area_type: str, region_type: str) -> list[int]:
    """The same rectangle, and how far down in the region's content its upper edge is."""
    region = place(area_type, region_type)[2]
    return [*rectangle(area_type, region_type), -round(region.view2d.region_to_view(0, region.height)[1])]


def addon(name: str):
    """A module of the extension."""
    return sys.modules[f"{MODULE}.{name}"]


clock = Clock("/user_default/diffusion_as_shader/")
clock.start()
address, screen_height = sys.argv[-2], int(sys.argv[-1])
bpy.app.timers.register(Witness(address).look, persistent=True)
