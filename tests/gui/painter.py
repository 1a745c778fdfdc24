"""The engine that paints in the window's tests under the name of the model: as slowly as the words of the prompt say.

``previews=40 pause=0.5 sleep=1``: forty live previews half a second apart, then a frame a second. Without ``previews`` there are
none: software draws a sidebar slowly, and one in which a preview plays again and again.
"""

from __future__ import annotations

import msgspec
from pattern_engine import PatternEngine

from diffusion_as_shader.backend import engines


class Painter(PatternEngine):
    """Frames and previews are the tracking video in other colours."""

    name = "das"

    def capabilities(self):
        return msgspec.structs.replace(super().capabilities(), title="Painter of the tests", prompt=True)

    def generate(self, request, signals, **more):
        coarse = signals["tracking"][::4, ::8, ::8]
        if "previews" not in request.prompt:
            yield engines.Progress("pattern", 0, request.frames)
        for event in super().generate(request, signals, **more):
            if not isinstance(event, engines.Preview):
                yield event
            elif "previews" in request.prompt:
                yield engines.Preview(coarse)
