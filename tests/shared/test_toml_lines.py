"""Where each key of a TOML text stands."""

import tomllib

from diffusion_as_shader.shared.toml_lines import lines_of

TEXT = '''# [shot]
[defaults]
engine = "das"   # [not] = a header
prompt = """one
two = 2
[three]"""
repaint.model = 'sdxl'
"quoted key" = 1979-05-27T07:32:00Z

[[shot]]
scene = ["a.blend",
  # between
  'b#.blend', ]
first_frame = { source = "render", samples = 8 }
[shot.camera]
motion = \'\'\'trans 0 0 1; "x" \'\'\'
[[shot.variations]]
name = "day"
[[shot.variations]]
name = "night"

[[shot]]
[[shot.variations]]
seed = 0x1F
'''


def test_every_table_key_and_item():
    tomllib.loads(TEXT)
    lines = lines_of(TEXT)
    assert lines[("defaults",)] == 2
    assert lines[("defaults", "engine")] == 3
    assert lines[("defaults", "prompt")] == 4
    assert lines[("defaults", "repaint", "model")] == 7
    assert lines[("defaults", "quoted key")] == 8
    assert lines[("shot", 0)] == 10
    assert [lines[("shot", 0, "scene", number)] for number in range(2)] == [11, 13]
    assert lines[("shot", 0, "first_frame", "samples")] == 14
    assert lines[("shot", 0, "camera", "motion")] == 16
    assert [lines[("shot", 0, "variations", number, "name")] for number in range(2)] == [18, 20]
    assert (lines[("shot", 1)], lines[("shot", 1, "variations", 0, "seed")]) == (22, 24)


def test_it_finds_what_tomllib_finds():
    for text in (TEXT, TEXT.replace("\n", "\r\n"), "", "# only a comment", "a.b.c = [[1, [2]], {x = {y = 1}}]\n", 's = "\\"]#"\nt = \'\'\n'):
        assert {path for path in lines_of(text)} == set(_paths(tomllib.loads(text))), text


def _paths(value, path=()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))
