"""Flow files, read by a parser that knows only their published form."""

import struct

import numpy as np

from diffusion_as_shader.shared import flo


def test_flow_comes_back_and_what_is_unknown_is_marked():
    flow = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    flow[1, 2] = np.nan
    content = flo.encode(flow)
    assert struct.unpack("<fii", content[:12]) == (np.float32(202021.25), 5, 3)
    read = np.frombuffer(content, "<f4", offset=12).reshape(3, 5, 2)
    assert np.array_equal(np.isnan(flow), read > 1e9)
    assert np.array_equal(read[read < 1e9], flow[~np.isnan(flow)])
