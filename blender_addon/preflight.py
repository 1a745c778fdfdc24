"""The pre-flight of a scene, a step at a time as a Job is: one capture, one drawing pass, and what they say."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

import bpy
import msgspec
import numpy as np

from ..shared.alignment import Alignment, align
from ..shared.errors import Cancelled, DasError, SceneError
from ..shared.measurements import FrameMeasure, Measurements, Untracked
from ..shared.preflight import Finding, blocks, judge, worst_first
from ..shared.request import GenerationRequest
from .capture.draw import Drawer, choose_drawer
from .capture.first_frame import rendering_first_frame
from .capture.geometry import Capture, capturing, missing_notes
from .capture.untracked import sentences
from .images import BlenderImages
from .measuring import Measurer
from .render_job import Renders
from .scene_checks import from_error, scene_findings
from .stepwise import Step, Stepwise, find_scene


class Report(msgspec.Struct, kw_only=True):
    """What a pre-flight found. ``measured`` is None where the scene could not be captured; ``ended`` is time.time()."""

    request: GenerationRequest
    findings: list[Finding]
    measured: Measurements | None = None
    seconds: float = 0.0
    ended: float = 0.0

    def summary(self) -> str:
        """One sentence."""
        count = {name: sum(each.severity == name for each in self.findings) for name in ("block", "warning")}
        if blocks(self.findings):
            return f"The shot cannot work yet: {_counted(count['block'], 'finding blocks', 'findings block')}."
        if count["warning"]:
            return f"The shot can work, with {_counted(count['warning'], 'warning', 'warnings')}."
        return "The shot is ready."


class Check(Stepwise):
    """A scene's pre-flight.

    Whatever makes the scene unusable becomes a blocking finding of ``report``, which is None until the end. A first
    frame that is an image file is always compared with the tracking video, one that is rendered ``with_first_frame``
    only, because it is rendered from the same scene. ``mended`` says that an operator has changed the scene since.
    """

    what = "check"

    def __init__(
        self,
        scene: bpy.types.Scene,
        request: GenerationRequest,
        *,
        with_first_frame: bool = False,
        tell: Callable[[Step], None] = lambda step: None,
    ):
        self.request = request
        self.report: Report | None = None
        self.mended = False
        self.scene_uid = scene.session_uid
        self._with_first_frame = with_first_frame or request.first_frame.source == "file"
        super().__init__(tell)

    @property
    def ready(self) -> str:
        """What is said at the end."""
        return self.report.summary() if self.report else ""

    def run(self) -> Report:
        """Step to the end."""
        self._run_to_end()
        return self.report

    # the order of things

    def _run(self) -> Iterator[None]:
        began = time.monotonic()
        self._report("capture", 0, self.request.frames)
        yield
        scene = self._scene()
        findings, measured = scene_findings(scene, self.request), None
        if not blocks(findings):
            try:
                with (yield from self._rendered(self._capturing(scene))) as captured:
                    picture = yield from self._picture(scene, findings)
                    drawer, why_slow = choose_drawer()
                    findings += _notes(captured, why_slow)
                    measured = yield from self._measure(scene, captured, drawer, picture)
                    findings += judge(measured)
            except SceneError as error:
                findings.append(from_error(error, "scene"))
        self.report = Report(
            request=self.request,
            findings=worst_first(findings),
            measured=measured,
            seconds=time.monotonic() - began,
            ended=time.time(),
        )

    def _capturing(self, scene: bpy.types.Scene) -> Renders[Capture]:
        return capturing(scene, self.request, progress=self._teller("capture"), cancelled=self._stopped)

    def _picture(self, scene: bpy.types.Scene, findings: list[Finding]) -> Generator[None, None, np.ndarray | None]:
        """The first frame where it is to be compared."""
        self._check_stop()
        if not self._with_first_frame:
            return None
        self._tell(Step("first frame", 0, 1))
        try:
            return (yield from self._rendered(rendering_first_frame(scene, self.request, BlenderImages())))
        except Cancelled:
            raise
        except DasError as error:
            findings.append(from_error(error, "first_frame"))
            return None

    def _measure(
        self, scene: bpy.types.Scene, captured: Capture, drawer: Drawer, picture: np.ndarray | None
    ) -> Iterator[None]:
        """All frames' numbers, a step each. The scene is asked before the first step only: an undo could follow."""
        measurer = Measurer(scene, captured, self.request, drawer)
        own = scene.frame_start, scene.frame_end
        frames: list[FrameMeasure] = []
        try:
            for index in range(len(captured.frames)):
                self._check_stop()
                frames.append(measurer.measure(index))
                self._report("check", index + 1, self.request.frames)
                yield
        finally:
            drawer.close()
        low, high = measurer.depth_range
        return Measurements(
            request=self.request,
            frames=frames,
            scene_start=own[0],
            scene_end=own[1],
            depth_low=low,
            depth_high=high,
            nearest=measurer.nearest if np.isfinite(measurer.nearest) else 0.0,
            farthest=measurer.farthest,
            alignment=_alignment(picture, measurer),
            untracked=[Untracked(each.name, each.reason) for each in captured.untracked],
        )

    # small things

    def _scene(self) -> bpy.types.Scene:
        scene = find_scene(self.scene_uid)
        if scene is None:
            raise SceneError("The scene was removed while it was checked.", "Check again.")
        return scene


def _notes(captured: Capture, why_slow: str) -> list[Finding]:
    """What the capture says of its own choices; what is missing or not tracked has findings of its own."""
    told = {*missing_notes(), *sentences(captured.untracked)}
    notes = [note for note in captured.notes if note not in told] + [why_slow] * bool(why_slow)
    return [Finding(severity="info", kind="note", message=note) for note in notes]


def _alignment(picture: np.ndarray | None, measurer: Measurer) -> Alignment | None:
    if picture is None:
        return None
    return align(picture, np.where(np.isfinite(measurer.first.depth), measurer.first.objects, 0), measurer.first.depth)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
