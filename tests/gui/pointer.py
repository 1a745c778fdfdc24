"""The pointer of an X display, moved by the XTEST extension: no process is started for each of its thousand moves."""

from __future__ import annotations

import ctypes

BUTTONS = {"left": 1, "up": 4, "down": 5}  # up and down are the wheel's


class Pointer:
    """Of the display named, such as ":99"."""

    def __init__(self, display: str):
        self._x, self._test = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
        self._x.XOpenDisplay.restype = ctypes.c_void_p
        self._display = ctypes.c_void_p(self._x.XOpenDisplay(display.encode()))
        if not self._display:
            raise OSError(f"The display {display} does not answer.")

    def move(self, x: int, y: int) -> None:
        self._test.XTestFakeMotionEvent(self._display, -1, x, y, ctypes.c_ulong(0))
        self._x.XSync(self._display, 0)

    def press(self, button: str = "left", down: bool = True) -> None:
        self._test.XTestFakeButtonEvent(self._display, BUTTONS[button], int(down), ctypes.c_ulong(0))
        self._x.XSync(self._display, 0)

    def release(self, button: str = "left") -> None:
        self.press(button, down=False)
