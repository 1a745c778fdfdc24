"""One Blender from installing the extension's zip to removing it; run by test_extension_install.py in a new process.

Prints one JSON object of what was found. Arguments: the zip.
"""

import json
import sys
from pathlib import Path

import bpy
import numpy  # noqa: F401  Blender's own, before this environment's packages are hidden

MODULE = "bl_ext.user_default.diffusion_as_shader"


def hide_this_environment() -> None:
    """Leave Blender's Python as a user has it: without msgspec, pyzmq and the installed package."""
    sys.path[:] = [path for path in sys.path if "site-packages" not in path]
    sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in str(finder)]
    for name in ("msgspec", "zmq", "platformdirs", "diffusion_as_shader"):
        assert name not in sys.modules, name
        try:
            __import__(name)
        except ModuleNotFoundError:
            continue
        raise AssertionError(f"{name} can still be imported")


def panels() -> list[str]:
    """Names of the sidebar panels in the tab DaS."""
    known = bpy.types.Panel.__subclasses__()
    return [one.__name__ for one in known if getattr(one, "bl_category", "") == "DaS" and one.is_registered]


def wheels_used() -> dict[str, str]:
    """Import what the wheels bring, use it through the extension, and say where it came from."""
    import importlib

    import msgspec
    import platformdirs
    import zmq

    errors = importlib.import_module(f"{MODULE}.shared.errors")
    request = importlib.import_module(f"{MODULE}.shared.request").GenerationRequest(prompt="a fox")
    again = msgspec.json.decode(msgspec.json.encode(request), type=type(request))
    assert again == request and errors.UsageError("a", "b").exit_code == 2
    zmq.Context.instance().socket(zmq.ROUTER).close()
    return {module.__name__: module.__file__ for module in (msgspec, platformdirs, zmq)}


def installer_says() -> str:
    """What the backend's installer, started from the zip's own files, came to: here there is nothing to clean up."""
    import importlib
    import time

    cleaning = importlib.import_module(f"{MODULE}.blender_addon.backend_work").Cleaning()
    end = time.monotonic() + 60
    while cleaning.step():
        assert time.monotonic() < end
        time.sleep(0.02)
    return cleaning.result["event"]


def main(archive: str) -> dict:
    hide_this_environment()
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    found = {"enabled": MODULE in bpy.context.preferences.addons, "panels": panels(), "wheels": wheels_used()}
    found["installer"] = installer_says()
    folder = Path(sys.modules[MODULE].__file__).parent
    found["folder"] = str(folder)
    bpy.ops.preferences.addon_disable(module=MODULE)
    found["disabled"] = MODULE not in bpy.context.preferences.addons and not panels()
    repos = bpy.context.preferences.extensions.repos
    index = [repo.module for repo in repos].index("user_default")
    bpy.ops.extensions.package_uninstall(repo_index=index, pkg_id="diffusion_as_shader")
    found["removed"] = not folder.exists()
    return found


if __name__ == "__main__":
    print("FOUND " + json.dumps(main(sys.argv[1])))
