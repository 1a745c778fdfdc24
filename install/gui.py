"""The room of the window tests: a real Blender of Debian's unstable release, in a folder of its own, under Xvfb.

Needs root on a Debian machine, for chroot and mounts. The folder is made once (about 2 minutes, 1.8 GB) outside the
tree, and reused. Each run has mounts and processes of its own, which end with it: the checkout and the backend's Python
are lent to it read-only under their own paths, and nothing that Blender writes stays in the folder but compiled shaders.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from .build_extension import RANGES, build, this_platform
from .environments import Made, remove
from .errors import InstallError
from .home import NAME, register, write_json
from .steps import run_step, say
from .tests import Run

STAMP = "das-environment.json"  # as in environments.py, so that remove() keeps it to the last
TOOLS = ("blender", "Xvfb", "xdotool", "import", "python3")
PACKAGES = (
    "blender", "python3-numpy", "python3-requests", "python3-zstandard", "python3-cattr", "xvfb", "xauth", "xdotool",
    "imagemagick", "libgl1-mesa-dri", "libglx-mesa0", "libegl1", "fonts-dejavu-core",
)  # fmt: skip
READY = {"state": "ready", "packages": list(PACKAGES)}  # one made for other packages is made anew
SECONDS_TO_ANSWER = 120
SECONDS_TO_MAKE = 900
SECONDS_OF_A_RUN = 1200
IN_ROOM = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
ANSWER = "blender --version; python3 -c 'import numpy, requests, zstandard, cattr'; command -v xdotool Xvfb import"
GET_DEBOOTSTRAP = "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap"
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child")  # what is mounted and started ends with this process
MAKE = r"""
root=$1 mirror=$2; shift 2
debootstrap --variant=minbase sid "$root" "$mirror"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"; chmod +x "$root/usr/sbin/policy-rc.d"
echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/99valid"  # a mirror's dated copy; still signed
mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"
in_room() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
in_room apt-get update
in_room apt-get install -y --no-install-recommends "$@"
in_room apt-get clean
"""
ENTER = r"""
root=$1 folder=$2 kept=$3; shift 3
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root$(dirname "$1")"; touch "$root$1"; fi
    mount --bind "$1" "$root$1"; mount -o remount,bind,ro "$root$1"; shift
done; shift
mkdir -p "$root$folder"; mount --bind "$folder" "$root$folder"
mount --bind "$kept" "$root$kept"
chroot "$root" /sbin/ldconfig
chroot "$root" env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 "$@"  # no exec: this shell is what reaps orphans in here
"""


class CannotBeHere(InstallError):
    """This machine cannot have the room; ``message`` says why."""


def default_room() -> Path:
    """Where the room is made when no other place is named."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / NAME / "window"


def ready_room(room: Path) -> Path:
    """The folder with Blender in it, made if it is not there. CannotBeHere says why there can be none."""
    refuse_others()
    room.parent.mkdir(parents=True, exist_ok=True)
    with open(room.with_name(f"{room.name}.lock"), "w", encoding="utf-8") as lock:
        one_at_a_time(lock)
        if not (is_ready(room) and answers(room)):
            make_room(room)
    return room


def refuse_others() -> None:
    """CannotBeHere on a machine that cannot have the room."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise CannotBeHere("it needs root on Linux.")
    if subprocess.run([*APART, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True).returncode:
        raise CannotBeHere("this machine does not let root mount anything.")


def one_at_a_time(lock: IO) -> None:
    """Wait until no other run makes the room. The lock ends with the process."""
    import fcntl  # there is none on Windows

    fcntl.flock(lock, fcntl.LOCK_EX)


def is_ready(room: Path) -> bool:
    """Whether a run finds what it needs; a room that others have made will do as well."""
    stamp = room / STAMP
    if stamp.exists() and read_stamp(stamp) != READY:
        return False
    return all(os.path.lexists(room / "usr" / "bin" / name) for name in TOOLS)  # links lead out of here


def read_stamp(stamp: Path) -> dict:
    """What a room's maker noted in it; nothing where that was cut short."""
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))
    except ValueError:
        return {}


def answers(room: Path) -> bool:
    """Whether what is in a room can be started: a file of it may be lost."""
    command = [*APART, "chroot", room, "sh", "-ec", ANSWER]
    try:
        return subprocess.run(command, capture_output=True, timeout=SECONDS_TO_ANSWER, env=IN_ROOM).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def make_room(room: Path) -> None:
    """Debian's unstable release and Blender, in the place of a half-made one if there is one."""
    if room.exists() and not (room / STAMP).exists() and any(room.iterdir()):
        raise InstallError(f"{room} was not made by this script, so it is left alone.", "Name another folder by --window.")
    mirror = debian_mirror()
    if room.exists():
        remove(room)
    room.mkdir(parents=True)
    write_json(room / STAMP, {"state": "making"})
    log = room.with_name(f"{room.name}.log")
    try:
        if not shutil.which("debootstrap"):
            run_step("window: debootstrap", ["sh", "-ec", GET_DEBOOTSTRAP], log, room, SECONDS_TO_MAKE)
        command = [*APART, "sh", "-ec", MAKE, "sh", room, mirror, *PACKAGES]
        run_step("window: Debian with Blender (1.8 GB, about two minutes)", command, log, room, SECONDS_TO_MAKE)
    except InstallError as error:
        raise CannotBeHere(f"it could not be made: {error.message}", error.fix) from None
    if not answers(room):
        raise CannotBeHere("it was made, and its Blender does not start.", f"All of it is in {log}.")
    write_json(room / STAMP, READY)


def debian_mirror(folder: Path = Path("/etc/apt")) -> str:
    """The mirror that this machine's own packages come from."""
    for file in [folder / "sources.list.d" / "debian.sources", folder / "sources.list", *folder.glob("sources.list.d/*")]:
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            address = next((word for word in line.split() if "://" in word), "")
            if line.startswith(("deb ", "URIs:")) and "debian" in address and "security" not in address:
                return address
    raise CannotBeHere("it is made with Debian's own tools, and no mirror of Debian is named in /etc/apt.")


def python_of(room: Path) -> str:
    """The version of the Python that Blender uses in there, such as 3.14."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run(["chroot", room, "python3", "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    if version not in RANGES:
        raise CannotBeHere(f"its Blender has Python {version}, for which no extension is built.")
    return version


def lent(root: Path, python: Path) -> list[Path]:
    """What a run reads of this machine: the checkout, and the Python that the backend's environment was made from."""
    code = "import os, sys, sysconfig; print(sys.base_prefix, os.path.realpath(sys.executable), sysconfig.get_path('stdlib'), sep='\\n')"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    prefix, executable, library = map(Path, answer.splitlines())
    # Over /usr as a whole it would hide the room's own.
    pythons = [executable, library] if prefix == Path("/usr") else [prefix]
    return [*pythons, root]


def window_run(root: Path, room: Path, backend: Made, folder: Path) -> Run:
    """Start the session of tests/gui with a zip of the tree as it is. Its pictures are kept in build/window."""
    archive = build(root, python_of(room), this_platform(), folder)
    register([backend.entry()], folder / "home")
    kept = root / "build" / "window"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    scene = root.parent / "shared" / "data" / "robot_dance.blend"
    if scene.is_file():
        shutil.copy(scene, folder)
    session = ["/usr/bin/python3", root / "tests" / "gui" / "session.py", archive, folder, kept, backend.python]
    command = [*APART, "sh", "-ec", ENTER, "sh", room, folder, kept, *lent(root, backend.python), "--", *session]
    say(f"window: pictures in {kept}")
    # unshare does not hear a request; all ends with it
    return WindowRun("window", folder, command, dict(os.environ), root, patience=0, seconds=SECONDS_OF_A_RUN)


class WindowRun(Run):
    """The session, which ends by itself long before it is stopped."""

    def too_long(self) -> str:
        pictures = sorted((self.cwd / "build" / "window").glob("*.png"))
        return f"{super().too_long()}; the last picture is {pictures[-1] if pictures else 'none'}"

