"""A region of Blender's window, and its buttons.

There is no API for the place of a button, and tables of pixels break with every theme. So the pointer is moved over a region,
and Blender is asked at each place what the button under it does. What was seen is remembered by its depth in the region's
content, however that is scrolled: a button is looked for there and near there first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from failed import Failed

if TYPE_CHECKING:
    from window import Window

STEP = 18  # pixels: less than a button is high
NEAR = 9  # rows by which a button may have slid
NEXT = 16  # rows in which one below another may be
COLUMNS = (0.7, 0.3, 0.5, 0.85, 0.15, 0.1, 0.05)  # of a region's width, the likeliest first
AT_THE_END = (0.83, 0.73, 0.88, 0.79)  # where a row has a small button
EDGE = 4  # pixels at which a region's neighbour begins to feel the pointer


class Place(NamedTuple):
    """In a region's content: pixels from its left edge, and down from where it begins."""

    x: int
    depth: int


class View(NamedTuple):
    """What is seen of a region: its left upper corner on the screen, its size, and the depth at its upper edge."""

    left: int
    top: int
    width: int
    height: int
    depth: int


class Region:
    """Of ``window``'s largest area of the kind ``area``."""

    def __init__(self, window: Window, area: str, region: str):
        self._window, self._area, self._region = window, area, region
        self._seen: dict[str, Place] = {}

    def find(self, button: str, below: str = "") -> tuple[int, int]:
        """Where on the screen the button is whose call or path has ``button`` in it, sooner where it is known to stand below
        another; a long region is scrolled to it."""
        for place in islice(self._remembered(button), 2):
            if found := self._search(button, place.x, [place.depth + STEP * row for row in sorted(range(-NEAR, NEAR), key=abs)]):
                return found
        for column in COLUMNS[:2]:
            found = self._search_below(button, column, below) if below else self._search_view(button, column)
            if found:
                return found
        for column in COLUMNS:
            if found := self._search_all(button, column):
                return found
        raise Failed(f"there is no button {button} in {self._area} {self._region}")

    def find_below(self, button: str, upper: str) -> tuple[int, int]:
        """The same of a small button at the end of one of the rows below another, while rows come, go and slide."""
        for column in AT_THE_END * 2:
            found = self._search_below(button, column, upper)
            if found and button in self._window.point(*found, self._question):
                return found
        raise Failed(f"there is no button {button} below {upper} in {self._area} {self._region}")

    def search_down(self, button: str, x: int, depth: int, rows: int = NEXT) -> tuple[int, int] | None:
        """In so many rows from a depth on."""
        return self._search(button, x, range(depth, depth + rows * STEP, STEP))

    def depth_of(self, y: int) -> int:
        """Of a place on the screen."""
        view = self._view()
        return view.depth + y - view.top

    def scroll_to_the_end(self) -> None:
        while self._scroll(1):
            pass

    def open_panel(self, panel: str) -> tuple[int, int] | None:
        """Click on the header of a closed panel of the extension that is one of the last in its region, and say where that is.

        Headers are no buttons; but an open panel is drawn, and the clock sees that.
        """
        if self._is_open(panel):
            return None
        self.scroll_to_the_end()
        view = self._view()
        x, depths = round(view.width * 0.3), range(view.depth + view.height - STEP, view.depth, -STEP)
        lowest = next((depth for depth in depths if self._look(view, Place(x, depth))), view.depth)
        for depth in range(lowest + STEP, view.depth + view.height - EDGE, STEP):
            place = view.left + x, view.top + depth - view.depth
            self._window.click(*place)
            if self._is_open(panel):
                return place
            self._window.click(*place)  # another panel's header, or nothing's
        raise Failed(f"there is no header of {panel} in {self._area} {self._region}")

    def _is_open(self, panel: str) -> bool:
        before = self._window.ask(f"draws({panel!r})")
        self._window.ask(f"place({self._area!r}, {self._region!r})[2].tag_redraw()")
        self._window.settle()
        return self._window.ask(f"draws({panel!r})") > before

    # where the pointer is moved to

    @property
    def _question(self) -> str:
        return f"under_pointer({self._area!r}, {self._region!r})"

    def _remembered(self, button: str) -> Iterator[Place]:
        """Places where it was seen, the latest first."""
        return (place for text, place in reversed(list(self._seen.items())) if button in text)

    def _search_below(self, button: str, column: float, upper: str) -> tuple[int, int] | None:
        """Down one column, in the rows below another button."""
        self.find(upper)
        depth = next(self._remembered(upper)).depth
        return self.search_down(button, round(self._view().width * column), depth)

    def _search_view(self, button: str, column: float) -> tuple[int, int] | None:
        """Down one column of what is seen."""
        view = self._view()
        return self._search(button, round(view.width * column), range(view.depth + STEP // 2, view.depth + view.height - EDGE, STEP))

    def _search_all(self, button: str, column: float) -> tuple[int, int] | None:
        """Down one column, from the content's beginning to its end."""
        while self._scroll(-1):
            pass
        depth, x = STEP // 2, round(self._view().width * column)
        while True:
            view = self._view()
            rows = range(depth, view.depth + view.height - EDGE, STEP)
            if found := self._search(button, x, rows):
                return found
            depth = rows[-1] + STEP if rows else depth
            if not self._scroll(1):
                return None

    def _search(self, button: str, x: int, depths: Iterable[int]) -> tuple[int, int] | None:
        for depth in depths:
            view = self._show(depth)
            if view and button in (text := self._look(view, Place(x, depth))):
                inside = self._inside(view, Place(x, depth), text)
                return view.left + x, view.top + inside.depth - view.depth
        return None

    def _inside(self, view: View, place: Place, text: str) -> Place:
        """Of the same button, but not at its edge: a list that opens there reaches over it, and takes the click for its own."""
        has_more_below = self._look(view, Place(place.x, place.depth + STEP // 2)) == text
        self._seen[text] = Place(place.x, place.depth + (STEP // 4 if has_more_below else -STEP // 4))
        return self._seen[text]

    def _look(self, view: View, place: Place) -> str:
        """What the button at a place that is in view does."""
        x, y = view.left + place.x, view.top + place.depth - view.depth
        if self._window.pointed is not self:
            self._window.move(x, y)
            self._window.pointed = self
        text = self._window.point(x, y, self._question)
        self._seen.pop(text, None)
        if text:
            self._seen[text] = place
        return text

    # how the region is scrolled

    def _view(self) -> View:
        return View(*self._window.ask(f"view({self._area!r}, {self._region!r})"))

    def _show(self, depth: int) -> View | None:
        """Scroll to a depth; None where that is not in the content."""
        view = self._view()
        while not EDGE <= depth - view.depth < view.height - EDGE:
            if not self._scroll(1 if depth > view.depth else -1):
                return None
            view = self._view()
        return view

    def _scroll(self, down: int) -> bool:
        """By the wheel, beside the panels, for over a list it is the list's; False where there is nothing more."""
        view = self._view()
        self._window.move(view.left + 3, view.top + view.height // 2)
        self._window.roll(5 * down)
        return self._view().depth != view.depth
