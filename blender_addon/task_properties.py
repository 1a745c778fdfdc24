"""What the panel remembers of the tasks beside mesh-to-video, and of the repainted first frame; to a request and back."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, PointerProperty, StringProperty

from ..shared.errors import UsageError
from ..shared.request import FirstFrame, GenerationRequest, Task
from ..shared.task_settings import MAX_CANDIDATES, CameraControl, DepthSettings, MotionTransfer, ObjectManipulation, Repaint
from .footage import STRIP

OFF = "off"
RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"}  # of paths
FOLDER_OR_HUB = {*RELATIVE, "OUTPUT_PATH"}  # what is no folder is not drawn in red: it may be on the hub
TASKS = [
    ("mesh_to_video", "Mesh to video", "The scene's animation, surface by surface"),
    ("camera_control", "Camera control", "A picture or video seen by a moving camera"),
    ("object_manipulation", "Object manipulation", "A picture in which one object moves"),
    ("motion_transfer", "Motion transfer", "The motion of a video with another look"),
]
PICTURES = [
    ("scene", "Scene", "The scene's own first frame, with its exact depth"),
    ("file", "File", "An image or movie file"),
    ("strip", "Strip", "A strip of the Sequencer"),
]
VIDEOS = [("strip", "Strip", "A strip of the Sequencer"), ("file", "File", "A movie file")]
DEPTHS = [
    ("auto", "Automatic", "The scene's own where the picture is the scene's, else estimated by Depth Anything"),
    ("scene", "Scene", "The scene's own, exact: for its own picture, or for one painted over it"),
    ("depth_anything", "Depth Anything", "Estimated by Depth Anything V2, of which weights are needed"),
    ("moge", "MoGe", "Estimated by MoGe together with the field of view; its package and weights are needed"),
]
PATHS = [
    ("scene", "Scene camera", "As the scene's animated camera moves"),
    ("words", "In words", "A motion in words, such as trans 0 0 -1; rot y 15"),
    ("file", "File", "A camera path file, one camera a frame"),
]
ORDERS = [
    ("sequence", "In sequence", "Each segment in the frame that the camera has reached"),
    ("reference", "Reference", "The order of the reference program: each segment in the frame before those on its left"),
]
ONTO = [
    ("append", "Append", "On top of what the video's own camera does"),
    ("override", "Override", "In place of what the video's own camera does"),
]
MASKS = [
    ("object", "Object", "An object of the scene, with its children and what it instances"),
    ("file", "File", "A black and white image of the picture's size: white moves"),
    ("point", "Point", "What Segment Anything finds at a pixel of the picture; its weights are needed"),
]
MOTIONS = [
    ("follow", "Follow object", "As an animated object of the scene moves, for example an empty"),
    ("left", "Left", "To the left of the picture"),
    ("right", "Right", "To the right of the picture"),
    ("up", "Up", "Upwards in the picture"),
    ("down", "Down", "Downwards in the picture"),
    ("front", "Front", "Towards the camera"),
    ("back", "Back", "Away from the camera"),
    ("rot", "Turn", "About its own vertical axis"),
    ("path", "File", "A file with one 4x4 matrix a frame, in the first camera's axes (.npy, .npz, .json)"),
]
TRACKERS = [
    ("dis", "Dense flow", "Dense inverse search on any CPU: the quickest, and good at what is not hidden"),
    ("lucas_kanade", "Lucas-Kanade", "Pyramidal Lucas-Kanade on any CPU"),
    ("cotracker", "CoTracker", "CoTracker 3, of which weights are needed; follows through occlusion"),
    ("file", "File", "Tracks of another program (.npz)"),
]
REPAINTS = [
    (OFF, "Off", "The first frame stays as it is"),
    ("sdxl", "SDXL", "SDXL with a ControlNet for depth, for cards of 12 GB"),
    ("flux", "FLUX", "FLUX.1 Depth, for large cards"),
]


class DasTaskSettings(bpy.types.PropertyGroup):
    """The settings of the tasks; each task uses a part of them."""

    picture: EnumProperty(name="Picture", description="What the video begins with", items=PICTURES)
    video: EnumProperty(name="Video", description="Where the motion comes from", items=VIDEOS)
    file: StringProperty(name="File", description="An image, or a movie", subtype="FILE_PATH", options=RELATIVE)
    strip: StringProperty(name="Strip", description="The strip of the Sequencer that is the picture or video")
    look: StringProperty(
        name="Look", description="An image that is the first frame instead: same shapes, another look; empty for none", subtype="FILE_PATH", options=RELATIVE
    )
    depth: EnumProperty(name="Depth", description="How far away each pixel is", items=DEPTHS)
    depth_weights: StringProperty(
        name="Depth weights", description="A folder or hub id in place of the depth model's own weights", subtype="DIR_PATH", options=FOLDER_OR_HUB
    )

    path: EnumProperty(name="Path", description="How the camera moves", items=PATHS)
    words: StringProperty(
        name="Motion", description="trans DX DY DZ [S E]; rot AXIS DEGREES [S E]; spiral RADIUS [S E]", default="trans 0 0 -0.5"
    )
    order: EnumProperty(name="Order", description="How the motion's segments follow each other", items=ORDERS)
    path_file: StringProperty(name="Path file", description="A camera path with as many frames as the video", subtype="FILE_PATH", options=RELATIVE)
    onto: EnumProperty(name="Onto", description="What happens to a video's own camera", items=ONTO)

    mask: EnumProperty(name="What moves", description="How it is said what moves", items=MASKS)
    object: PointerProperty(name="Object", description="The object that moves, by its matte", type=bpy.types.Object)
    mask_file: StringProperty(name="Mask", description="A black and white image of the picture's size", subtype="FILE_PATH", options=RELATIVE)
    click: FloatVectorProperty(
        name="Point", description="A pixel of the object, from the upper left corner of the video", size=2, min=0, default=(360, 240)
    )
    motion: EnumProperty(name="Motion", description="How the object moves", items=MOTIONS)
    follow: PointerProperty(
        name="Follow", description="The object whose animation is followed, about its own origin", type=bpy.types.Object
    )
    distance: FloatProperty(name="Distance", description="How far: pixels on screen at the object's depth, or degrees of a turn", default=50)
    motion_file: StringProperty(name="Motion file", description="One 4x4 matrix a frame, in the first camera's axes", subtype="FILE_PATH", options=RELATIVE)

    tracker: EnumProperty(name="Tracker", description="How points of the video are followed", items=TRACKERS)
    grid: StringProperty(name="Grid", description="How many points are followed, across and down, such as 70x70", default="70x70")
    tracks: StringProperty(name="Tracks", description="Tracks of the video, made by another program (.npz)", subtype="FILE_PATH", options=RELATIVE)

    repaint: EnumProperty(name="Model", description="What paints the first frame anew, along its depth and by the prompt", items=REPAINTS)
    strength: FloatProperty(
        name="Strength", description="1 paints anew, less keeps more of the picture", min=0.01, max=1, default=1, subtype="FACTOR"
    )
    candidates: IntProperty(name="Candidates", description="How many are painted to choose from", min=1, max=MAX_CANDIDATES, default=1)
    repaint_steps: IntProperty(name="Steps", description="Denoising steps of the repaint; 0 is the model's own count", min=0)
    repaint_weights: StringProperty(name="Weights", description="A folder or hub id in place of the model's own weights", subtype="DIR_PATH", options=FOLDER_OR_HUB)
    repaint_base: StringProperty(name="Base", description="With SDXL: a folder or hub id of another model to control", subtype="DIR_PATH", options=FOLDER_OR_HUB)


def task_fields(tasks: DasTaskSettings, task: Task) -> dict:
    """The fields of a request that the settings of its task mean."""
    fields = {"task": task, "repaint": _repaint(tasks)}
    if task == "mesh_to_video":
        return fields
    if source := _source(tasks, task):
        look = bpy.path.abspath(tasks.look)
        fields |= {"source": source, "first_frame": FirstFrame(source="file", path=look) if look else FirstFrame()}
    if task == "motion_transfer":
        tracks = bpy.path.abspath(tasks.tracks) if tasks.tracker == "file" else ""
        return fields | {"transfer": MotionTransfer(tracker=tasks.tracker, grid=tasks.grid, tracks=tracks)}
    fields["depth"] = DepthSettings(source=tasks.depth, weights=bpy.path.abspath(tasks.depth_weights))
    if task == "camera_control":
        return fields | {"camera": _camera(tasks)}
    return fields | {"object": _object(tasks)}


def apply_task(tasks: DasTaskSettings, request: GenerationRequest) -> None:
    """The reverse of :func:`task_fields`. A file of depth, which Blender does not read, becomes ``auto``."""
    _apply_source(tasks, request)
    tasks.depth = "auto" if request.depth.source == "file" else request.depth.source
    tasks.depth_weights = request.depth.weights
    camera, moved, transfer, repaint = request.camera, request.object, request.transfer, request.repaint
    tasks.path = "words" if camera.motion else "file" if camera.path else "scene"
    tasks.words = camera.motion or tasks.words
    tasks.path_file, tasks.order, tasks.onto = camera.path, camera.order, camera.onto
    tasks.mask = "file" if moved.mask else "point" if moved.click else "object"
    tasks.mask_file, tasks.object = moved.mask, bpy.data.objects.get(moved.object)
    tasks.click = moved.click or tasks.click
    tasks.motion = moved.motion or tasks.motion
    tasks.distance, tasks.motion_file, tasks.follow = moved.distance, moved.path, bpy.data.objects.get(moved.follow)
    tasks.tracker, tasks.grid, tasks.tracks = transfer.tracker, transfer.grid, transfer.tracks
    tasks.repaint, tasks.strength, tasks.candidates = repaint.model or OFF, repaint.strength, repaint.candidates
    tasks.repaint_steps, tasks.repaint_weights, tasks.repaint_base = repaint.steps, repaint.weights, repaint.base


def _source(tasks: DasTaskSettings, task: Task) -> str:
    """As a request names it: nothing for the scene's own first frame. UsageError where a file or strip is to be chosen yet."""
    kind = tasks.video if task == "motion_transfer" else tasks.picture
    if kind == "scene":
        return ""
    if not (tasks.strip if kind == "strip" else tasks.file):
        raise UsageError(f"No {kind} is chosen to begin with.", "Choose one in the panel, or another source.")
    return STRIP + tasks.strip if kind == "strip" else bpy.path.abspath(tasks.file)


def _apply_source(tasks: DasTaskSettings, request: GenerationRequest) -> None:
    named = request.source.startswith(STRIP)
    tasks.picture = "strip" if named else "file" if request.source else "scene"
    tasks.video = "strip" if named or not request.source else "file"
    tasks.strip = request.source.removeprefix(STRIP) if named else ""
    tasks.file = "" if named else request.source
    tasks.look = request.first_frame.path if request.source else ""


def _camera(tasks: DasTaskSettings) -> CameraControl:
    if tasks.path == "words":
        return CameraControl(motion=tasks.words, order=tasks.order, onto=tasks.onto)
    return CameraControl(path=bpy.path.abspath(tasks.path_file) if tasks.path == "file" else "", onto=tasks.onto)


def _object(tasks: DasTaskSettings) -> ObjectManipulation:
    return ObjectManipulation(
        mask=bpy.path.abspath(tasks.mask_file) if tasks.mask == "file" else "",
        object=tasks.object.name if tasks.mask == "object" and tasks.object else "",
        click=tuple(tasks.click) if tasks.mask == "point" else None,
        motion=tasks.motion,
        distance=round(tasks.distance, 5),  # Blender keeps it in single precision
        path=bpy.path.abspath(tasks.motion_file) if tasks.motion == "path" else "",
        follow=tasks.follow.name if tasks.motion == "follow" and tasks.follow else "",
    )


def _repaint(tasks: DasTaskSettings) -> Repaint:
    if tasks.repaint == OFF:
        return Repaint()
    return Repaint(
        model=tasks.repaint,
        strength=round(tasks.strength, 5),
        candidates=tasks.candidates,
        steps=tasks.repaint_steps,
        weights=bpy.path.abspath(tasks.repaint_weights),
        base=bpy.path.abspath(tasks.repaint_base),
    )


def register() -> None:
    bpy.utils.register_class(DasTaskSettings)


def unregister() -> None:
    bpy.utils.unregister_class(DasTaskSettings)
