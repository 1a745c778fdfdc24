"""A Blender in a window of its own X server, used as a user does: by pointer, keys and eyes.

A click is always one on the button meant: see regions.py.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from failed import Failed
from pointer import Pointer
from regions import Region

HERE = Path(__file__).parent
SIZE = (1280, 800)  # software draws all of it anew at each change: a tenth of a second for 1600x1000
SECONDS_TO_START = 90
SECONDS_TO_SLIDE = 0.4
SECONDS_TO_QUIT = 30
SECONDS_TO_ANSWER = 90
SECONDS_TO_SETTLE = 20
ROUNDS = 4
ROUNDS_OF_A_MOVE = 3  # one in which it may come too late, one to hear of it, one to look
SECONDS_OF_A_CLICK = 0.15
SECONDS_TO_SERVE = 20
SECONDS_TO_RENDER = 60
TRIES = 3
FIRST_OF_F_KEYS = 66  # by their codes: with the name F3 xdotool presses Alt too
PROMPT, PROMPT_ANSWERS = 0.1, 3


class Window:
    """Made by ``start``; ``stop`` it in any case. Files of its own lie in ``work``, pictures in ``kept``."""

    def __init__(self, work: Path, kept: Path):
        self._work, self.kept = work, kept
        self._pictures = 0
        self.pointed: Region | None = None  # where the pointer is, as far as that is known
        self._regions: dict[tuple[str, str], Region] = {}
        self._processes: list[subprocess.Popen] = []
        self._environment = {
            **os.environ, "HOME": str(work / "user"), "DAS_HOME": str(work / "home"), "LIBGL_ALWAYS_SOFTWARE": "1", "DISPLAY": "",
            "MESA_SHADER_CACHE_DIR": "/var/cache/mesa", "DAS_EXTRA_ENGINES": "das=painter:Painter",
            "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parent / "backend"))),
        }  # fmt: skip

    # its life

    def start(self) -> None:
        (self._work / "user").mkdir(exist_ok=True)
        self._start_screen()
        address = str(self._work / "witness")
        width, height = map(str, SIZE)
        witness = Path(__file__).with_name("witness.py")
        self._run("blender", "--window-geometry", "0", "0", width, height, "--python", witness, "--", address, height)
        self._connect(address)
        self.wait_until_prompt(SECONDS_TO_SETTLE)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def quit(self) -> None:
        """Ctrl Q, without saving."""
        self._xdotool("key", "ctrl+q", "sleep", "1", "key", "d")
        code = self._processes[-1].wait(SECONDS_TO_QUIT)
        if code:
            raise Failed(f"Blender ended with code {code}")

    def _start_screen(self) -> None:
        """Xvfb on a display that is free, which it names."""
        reading, writing = os.pipe()
        width, height = SIZE
        self._run(
            "Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "+extension", "GLX", "-nolisten", "tcp",
            pass_fds=[writing],
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as file:
            self._environment["DISPLAY"] = f":{file.readline().strip()}"
        self._pointer = Pointer(self._environment["DISPLAY"])

    def _run(self, *command: str | Path, **options) -> None:
        with open(self.kept / f"{command[0]}.log", "ab") as log:
            words = [str(word) for word in command]
            self._processes.append(subprocess.Popen(words, env=self._environment, cwd=self._work, stdout=log, stderr=log, **options))

    def _connect(self, address: str) -> None:
        end = time.monotonic() + SECONDS_TO_START
        while not Path(address).exists():
            if self._processes[-1].poll() is not None or time.monotonic() > end:
                raise Failed("Blender did not open its window; see blender.log")
            time.sleep(0.1)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS_TO_ANSWER)
        self._socket.connect(address)
        self._answers = self._socket.makefile("r", encoding="utf-8")

    # questions

    def ask(self, question: str, rounds: int = 1):
        """The value of a Python expression in Blender, after it has gone round its loop so often; statements have None."""
        self._socket.sendall(json.dumps([rounds, question]).encode() + b"\n")
        answer = json.loads(self._answers.readline() or '{"error": "Blender is gone; see blender.log"}')
        if "error" in answer:
            raise Failed(f"{question}\n{answer['error']}")
        return answer["value"]

    def wait(self, question: str, seconds: float = 30, why: str = "") -> None:
        """Ask until the answer is true."""
        if not self.comes(question, seconds):
            raise Failed(f"{why or question} did not come within {seconds:.0f} s")

    def comes(self, question: str, seconds: float) -> bool:
        """Whether the answer becomes true in so many seconds."""
        end = time.monotonic() + seconds
        while not self.ask(question):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def settle(self) -> None:
        """Let Blender go round its loop as often as it needs to hear what was pressed and to draw what has come of it."""
        self.ask("None", ROUNDS)

    def wait_until_prompt(self, seconds: float) -> None:
        """Wait until Blender answers promptly: it has drawn what it had to. Not for long: on a busy machine it never does."""
        end, prompt = time.monotonic() + seconds, 0
        while prompt < PROMPT_ANSWERS and time.monotonic() < end:
            began = time.monotonic()
            self.ask("None")
            prompt = prompt + 1 if time.monotonic() - began < PROMPT else 0

    def wait_until_heard(self) -> None:
        """While Blender renders it takes no click and no key but Escape."""
        self.wait("not bpy.app.is_job_running('RENDER')", SECONDS_TO_RENDER, "the end of a render")

    def picture(self, name: str) -> Path:
        """Keep what the screen shows once panels have slid to their places."""
        time.sleep(SECONDS_TO_SLIDE)
        self._pictures += 1
        file = self.kept / f"{self._pictures:02d}-{name.replace(' ', '-')}.png"
        subprocess.run(["import", "-window", "root", file], env=self._environment, check=True, timeout=60)
        return file

    # pointer and keys

    def _xdotool(self, *words: str | int) -> None:
        subprocess.run(["xdotool", *map(str, words)], env=self._environment, check=True, timeout=60)

    def move(self, x: int, y: int) -> None:
        """Twice, as a hand does: Blender lights up a button at the second event in a region."""
        self.pointed = None
        for place in ((x + 1, y), (x, y)):
            self.point(*place)

    def point(self, x: int, y: int, question: str = "None"):
        """Move the pointer once, and ask what has come of it."""
        self._pointer.move(x, y)
        return self.ask(question, ROUNDS_OF_A_MOVE)

    def roll(self, notches: int) -> None:
        """The wheel, down or up."""
        for _ in range(abs(notches)):
            self._pointer.press("down" if notches > 0 else "up")
            self._pointer.release("down" if notches > 0 else "up")
        self.settle()

    def click(self, x: int, y: int) -> None:
        """As long as a hand presses: a shorter click can fall between two drawings of a button."""
        self.move(x, y)
        self._pointer.press()
        time.sleep(SECONDS_OF_A_CLICK)
        self.ask("None")
        self._pointer.release()
        self.settle()

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """With the left button, on the way through four places."""
        self.move(*start)
        self._pointer.press()
        for part in range(1, 5):
            self.point(*(round(a + (b - a) * part / 4) for a, b in zip(start, end)))
        self._pointer.release()
        self.settle()

    def turn(self, button: str, notches: int, area: str = "VIEW_3D", region: str = "UI") -> None:
        """The wheel over a menu with Ctrl held: each notch chooses the next entry, or the one before."""
        self.move(*self.find(button, area, region))
        self._xdotool("keydown", "ctrl")
        for _ in range(abs(notches)):
            self.roll(1 if notches > 0 else -1)
        self._xdotool("keyup", "ctrl")
        self.settle()

    def key(self, *keys: str) -> None:
        """Each pressed and released, as xdotool names them, such as Return or ctrl+o."""
        for key in keys:
            key = re.sub(r"\bF(\d+)$", lambda found: str(FIRST_OF_F_KEYS + int(found[1])), key)
            self._xdotool("key", key, "sleep", "0.1")
            self.settle()

    def write(self, text: str) -> None:
        self._xdotool("type", "--delay", "15", text)
        self.settle()

    # regions and buttons

    def region(self, area: str, region: str) -> Region:
        """Of the largest area of a kind."""
        return self._regions.setdefault((area, region), Region(self, area, region))

    def middle(self, area: str, region: str = "WINDOW") -> tuple[int, int]:
        left, top, width, height = self.ask(f"rectangle({area!r}, {region!r})")
        return left + width // 2, top + height // 2

    def find(self, button: str, area: str = "VIEW_3D", region: str = "UI", below: str = "") -> tuple[int, int]:
        return self.region(area, region).find(button, below)

    def press(self, button: str, area: str = "VIEW_3D", region: str = "UI", below: str = "") -> None:
        """Click on the button whose call or path, as Blender names it, has ``button`` in it. Where it is one of our operators,
        such as das.generate, that has been called when this returns."""
        self._serve(button, button.partition("(")[0], lambda: self.find(button, area, region, below), area, region)

    def press_below(self, button: str, upper: str, operator: str, area: str = "VIEW_3D", region: str = "UI") -> None:
        """A small button at the end of one of the rows below another button, while a job runs: rows come, go and slide."""
        self._serve(button, operator, lambda: self.region(area, region).find_below(button, upper), area, region)

    def _serve(self, button: str, operator: str, find: Callable[[], tuple[int, int]], area: str, region: str) -> None:
        """Click until the operator is called: what has slid away from under the pointer is looked for again."""
        self.wait_until_heard()
        if not self.ask(f"is_operator({operator!r})"):
            return self.click(*find())
        self.wait(f"can({operator!r}, {area!r}, {region!r})", SECONDS_TO_SERVE, f"{operator} can do nothing: its time")
        before = self.ask(f"executed({operator!r})")
        for _ in range(TRIES):
            self.click(*find())
            if self.comes(f"executed({operator!r}) > {before}", SECONDS_TO_SERVE):
                return
        raise Failed(f"{button} was pressed {TRIES} times in vain")
