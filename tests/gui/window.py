"""A Blender in a window of its own X server, used as a user does: by pointer, keys and eyes.

There is no API for the place of a button, and tables of pixels break with every theme. So the pointer is moved down a
region, and Blender is asked at each place what the button under it does. A click is thus always one on the button meant.
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

from pointer import Pointer

HERE = Path(__file__).parent
SIZE = (1600, 1000)
STEP = 12  # pixels: less than a button is high
COLUMNS = (0.7, 0.3, 0.5, 0.85, 0.15, 0.1, 0.05)  # of a region's width, the likeliest first
AT_THE_END = (0.85, 0.88, 0.82, 0.91)  # where a row has a small button
SECONDS_TO_START = 90
SECONDS_TO_SLIDE = 0.7
SECONDS_TO_QUIT = 30
SECONDS_TO_ANSWER = 90
SECONDS_TO_SETTLE = 20
ROUNDS = 4
SECONDS_OF_A_CLICK = 0.15
SECONDS_TO_SERVE = 20
TRIES = 3
FIRST_OF_F_KEYS = 66  # by their codes: with the name F3 xdotool presses Alt too
PROMPT, PROMPT_ANSWERS = 0.1, 3


class Failed(AssertionError):
    """What should have been seen was not."""


class Window:
    """Made by ``start``; ``stop`` it in any case. Files of its own lie in ``work``, pictures in ``kept``."""

    def __init__(self, work: Path, kept: Path):
        self._work, self.kept = work, kept
        self._pictures = 0
        self._seen: dict[tuple[str, str], dict[tuple[int, int], str]] = {}
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
        self._run("blender", "--window-geometry", "0", "0", width, height, "--python", witness, "--", address)
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

    def ask(self, question: str):
        """The value of a Python expression in Blender; statements have None."""
        self._socket.sendall(json.dumps(question).encode() + b"\n")
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
        for _ in range(ROUNDS):
            self.ask("None")

    def wait_until_prompt(self, seconds: float) -> None:
        """Wait until Blender answers promptly: it has drawn what it had to. Not for long: on a busy machine it never does."""
        end, prompt = time.monotonic() + seconds, 0
        while prompt < PROMPT_ANSWERS and time.monotonic() < end:
            began = time.monotonic()
            self.ask("None")
            prompt = prompt + 1 if time.monotonic() - began < PROMPT else 0

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
        """Twice, as a hand does: Blender lights up a button at the second event in a region. It has heard of both when it has
        answered twice."""
        for place in ((x + 1, y), (x, y)):
            self._pointer.move(*place)
            self.ask("None")
        self.ask("None")

    def click(self, x: int, y: int) -> None:
        """As long as a hand presses: a shorter click can fall between two drawings of a button."""
        self.move(x, y)
        self._pointer.press()
        time.sleep(SECONDS_OF_A_CLICK)
        self.ask("None")
        self._pointer.release()
        self.settle()

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """With the left button, on the way through ten places."""
        self.move(*start)
        self._pointer.press()
        for part in range(1, 11):
            self.move(*(round(a + (b - a) * part / 10) for a, b in zip(start, end)))
        self._pointer.release()
        self.settle()

    def turn(self, button: str, notches: int, area: str = "VIEW_3D", region: str = "UI") -> None:
        """The wheel over a menu with Ctrl held: each notch chooses the next entry, or the one before."""
        self.move(*self.find(button, area, region))
        self._xdotool("keydown", "ctrl")
        for _ in range(abs(notches)):
            self._pointer.press("down" if notches > 0 else "up")
            self._pointer.release("down" if notches > 0 else "up")
            self.settle()
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

    def middle(self, area: str, region: str = "WINDOW") -> tuple[int, int]:
        left, top, width, height = self.ask(f"rectangle({area!r}, {region!r})")
        return left + width // 2, top + height // 2

    def press(self, button: str, area: str = "VIEW_3D", region: str = "UI") -> None:
        """Click on the button whose call or path, as Blender names it, has ``button`` in it. Where it is one of our operators,
        such as das.generate, that has been called when this returns."""
        self._serve(button, button.partition("(")[0], lambda: self.find(button, area, region), area, region)

    def press_below(self, button: str, upper: str, operator: str, area: str = "VIEW_3D", region: str = "UI") -> None:
        """A small button at the end of one of the rows below another button, while a job runs: rows come, go and slide."""
        self._serve(button, operator, lambda: self._find_below(button, upper, area, region), area, region)

    def _serve(self, button: str, operator: str, find: Callable[[], tuple[int, int]], area: str, region: str) -> None:
        """Click until the operator is called: what has slid away from under the pointer is looked for again."""
        if not self.ask(f"is_operator({operator!r})"):
            return self.click(*find())
        self.wait(f"can({operator!r}, {area!r}, {region!r})", SECONDS_TO_SERVE, f"{operator} can do nothing: its time")
        before = self.ask(f"executed({operator!r})")
        for _ in range(TRIES):
            self.click(*find())
            if self.comes(f"executed({operator!r}) > {before}", SECONDS_TO_SERVE):
                return
        raise Failed(f"{button} was pressed {TRIES} times in vain")

    def find(self, button: str, area: str = "VIEW_3D", region: str = "UI") -> tuple[int, int]:
        """Where the button is: where one was seen before, else wherever it is; a long region is scrolled to it."""
        for place, text in list(self._seen.get((area, region), {}).items()):
            if button in text and button in self._look(place, area, region):
                return place
        self._to_the_top(area, region)
        while True:
            for column in COLUMNS:
                if found := self._search(button, area, region, column):
                    return found
            if not self._scroll(area, region, down=True):
                raise Failed(f"there is no button {button} in {area} {region}")

    def there_is(self, button: str, area: str, region: str) -> bool:
        """Whether the button can be seen, without scrolling."""
        self.settle()
        return any(self._search(button, area, region, column) for column in COLUMNS[:2])

    def _find_below(self, button: str, upper: str, area: str, region: str) -> tuple[int, int]:
        for column in AT_THE_END * 2:
            _, top = self.find(upper, area, region)
            found = self._search(button, area, region, column, top)
            if found and button in self._look(found, area, region):
                return found
        raise Failed(f"there is no button {button} below {upper} in {area} {region}")

    def open_panel(self, panel: str, area: str = "VIEW_3D", region: str = "UI") -> None:
        """Click on the header of a closed panel of the extension that is one of the last in its region.

        Headers are no buttons; but an open panel is drawn, and the clock sees that.
        """
        if self._is_open(panel, area, region):
            return
        while self._scroll(area, region, down=True):
            pass
        left, top, width, height = self.ask(f"rectangle({area!r}, {region!r})")
        x, heights = left + round(width * 0.3), range(top + height - STEP, top, -STEP)
        lowest = next((y for y in heights if self._look((x, y), area, region)), top)
        for y in range(lowest + STEP, top + height, STEP):
            self.click(x, y)
            if self._is_open(panel, area, region):
                return
            self.click(x, y)  # another panel's header, or nothing's
        raise Failed(f"there is no header of {panel} in {area} {region}")

    def _is_open(self, panel: str, area: str, region: str) -> bool:
        before = self.ask(f"draws({panel!r})")
        self.ask(f"place({area!r}, {region!r})[2].tag_redraw()")
        self.settle()
        return self.ask(f"draws({panel!r})") > before

    def _search(self, button: str, area: str, region: str, column: float, start: int = 0) -> tuple[int, int] | None:
        """Down one column, or from a height on. The place found is a step inside the button where that is as high as most are."""
        left, top, width, height = self.ask(f"rectangle({area!r}, {region!r})")
        x = left + round(width * column)
        self.move(x, max(start, top))
        for y in range(max(start, top + STEP // 2), top + height - STEP, STEP):
            if button in self._glance((x, y), area, region):
                inside = (x, y + STEP // 2)
                return inside if button in self._look(inside, area, region) else (x, y)
        return None

    def _look(self, place: tuple[int, int], area: str, region: str) -> str:
        """What the button at a place does."""
        self.move(*place)
        return self._glance(place, area, region)

    def _glance(self, place: tuple[int, int], area: str, region: str) -> str:
        """The same, of a pointer that is in the region already."""
        self._pointer.move(*place)
        self.ask("None")
        text = self.ask(f"under_pointer({area!r}, {region!r})")
        self._seen.setdefault((area, region), {})[place] = text
        return text

    def _to_the_top(self, area: str, region: str) -> None:
        while self._scroll(area, region, down=False):
            pass

    def _scroll(self, area: str, region: str, down: bool) -> bool:
        """By the wheel, beside the panels, for over a list it is the list's; False where there is nothing more."""
        before = self.ask(f"scroll({area!r}, {region!r})")
        left, top, _, height = self.ask(f"rectangle({area!r}, {region!r})")
        self.move(left + 3, top + height // 2)
        for _ in range(5):
            self._pointer.press("down" if down else "up")
            self._pointer.release("down" if down else "up")
            self.ask("None")
        self.settle()
        return self.ask(f"scroll({area!r}, {region!r})") != before
