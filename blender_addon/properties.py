"""What the panel remembers with the scene, and the request that it means."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..shared.points import is_grid
from ..shared.request import MAX_GUIDANCE_SCALE, MAX_STEPS, MODEL_FRAMES, MODEL_SIZE, FirstFrame, GenerationRequest, Task
from . import task_properties
from .preferences import ENGINES, default_engine
from .ranges import RANGES, frame_range
from .task_properties import FOLDER_OR_HUB, RELATIVE, TASKS, DasTaskSettings, apply_task, task_fields

DEFAULT_ENGINE = "default"
FIRST_FRAMES = [
    ("render", "Render", "Render the first frame with the scene's own engine and look"),
    ("workbench", "Workbench", "Render the first frame with Workbench, in a moment"),
    ("cycles", "Cycles", "Render the first frame with Cycles"),
    ("file", "Image", "Take an image file as the first frame"),
]
FITS = [
    ("crop", "Crop", "The largest centred part of the camera's view that has the video's aspect"),
    ("pad", "Pad", "The whole view of the camera, with a margin where the aspects differ"),
]
HIDDEN = [
    ("project", "Project", "Surface hidden in the first frame has a colour by projection"),
    ("black", "Black", "Surface hidden in the first frame is black, as in videos made by point trackers"),
]

BACKGROUNDS = [
    ("black", "Black", "Nothing is tracked where no surface is"),
    ("world", "World", "The world is tracked as infinitely far, so that a panning camera moves the sky"),
]

WRITTEN = [
    ("video", "Video", "The tracking video as one lossless file (tracking.mkv, FFV1)"),
    ("coordinates", "Coordinates", "Where each pixel's surface was in the first frame, in world coordinates (EXR)"),
    ("depth", "Depth", "Distance along the camera's axis, in scene units (EXR)"),
    ("mattes", "Mattes", "The number of the object that each pixel shows (16-bit PNG), and their names"),
    ("flow", "Flow", "How far each pixel's surface moves to the next frame (.flo)"),
    ("tracks", "Tracks", "Points followed through the shot, with visibility (tracks.npz)"),
]

QUALITIES = [
    ("draft", "Draft", "Half the steps, and steps that change little are passed over: for trying things out"),
    ("balanced", "Balanced", "All steps, and every speed-up whose error cannot be seen"),
    ("final", "Final", "All steps, and no speed-up that changes the result"),
]
QUALITY_STEPS = {"draft": 25, "balanced": 50, "final": 50}
MAX_VARIATIONS = 16
MAX_SEED = 2**31 - 1  # of Blender's own whole numbers
GUIDANCES = [
    ("dynamic", "Rising", "Guidance rises from step to step, as the model was made to be sampled"),
    ("constant", "Constant", "The same guidance at every step"),
    ("reference", "Reference", "As the reference program computes it: it jumps from step to step"),
]
SCHEDULERS = [("dpm", "DPM", "DPM-Solver++, which the published results were made with"), ("ddim", "DDIM", "Without fresh noise at each step")]
TRACKING_RANGES = [
    ("signed", "-1 to 1", "As the model was trained"),
    ("unsigned", "0 to 1", "As the reference program gives it to the model"),
]
IMAGE_LATENT_SCALES = [
    ("auto", "Automatic", "As the weights say"),
    ("mul", "Multiplied", "The first frame's latents are multiplied by the scaling factor"),
    ("div", "Divided", "The first frame's latents are divided by the scaling factor"),
]
# quality comes first, because it sets others
MODEL_FIELDS = ("quality", "steps", "memory_plan", "guidance", "scheduler", "tracking_range", "image_latent_scale", "from_base")


def set_by_quality(settings: DasSettings, context: bpy.types.Context | None = None) -> None:
    """What a quality stands for: its steps, and the memory plan that fits. Advanced changes both."""
    settings.steps, settings.memory_plan = QUALITY_STEPS[settings.quality], "auto"


class DasSettings(bpy.types.PropertyGroup):
    """The scene's settings. Nothing is stored in a .blend until one of them is changed."""

    task: EnumProperty(name="Task", description="What the video is made from", items=TASKS)
    tasks: PointerProperty(name="Tasks", description="The settings of the single tasks", type=DasTaskSettings)
    prompt: StringProperty(name="Prompt", description="What the video shows, in words")
    negative_prompt: StringProperty(name="Negative prompt", description="What the video must not show")
    engine: EnumProperty(
        name="Engine",
        description="What makes the video",
        items=[(DEFAULT_ENGINE, "Default", "The engine that the add-on's preferences name"), *ENGINES],
    )
    range: EnumProperty(name="Range", description="Which frames of the scene become the video", items=RANGES)
    start: IntProperty(name="Start", description="The first frame of the custom range", default=1)
    end: IntProperty(name="End", description="The last frame of the custom range", default=MODEL_FRAMES)
    first_frame: EnumProperty(name="First frame", description="Where the look comes from", items=FIRST_FRAMES)
    first_frame_path: StringProperty(
        name="Image", description="The image that is the first frame; it must be of the video's size", subtype="FILE_PATH", options=RELATIVE
    )
    first_frame_samples: IntProperty(
        name="Samples", description="Samples of the first frame's render; 0 takes the scene's own", min=0, default=0
    )
    style: StringProperty(name="Style", description="Words on the look, which are added to the prompt; a preset may bring them")
    seed: IntProperty(name="Seed", description="The same seed gives the same video", min=0)
    lock_seed: BoolProperty(name="Lock seed", description="Keep the seed. Without the lock each Generate draws a new one and shows it here")
    variations: IntProperty(
        name="Variations", description="How many videos one Generate makes, each with the next seed", min=1, max=MAX_VARIATIONS, default=1
    )
    frames: IntProperty(
        name="Frames", description="How many frames are made over the range; 8N+1", min=9, max=1025, step=8, default=MODEL_FRAMES
    )
    width: IntProperty(name="Width", description="The video's width in pixels; a multiple of 16", min=16, default=MODEL_SIZE[0])
    height: IntProperty(name="Height", description="The video's height in pixels; a multiple of 16", min=16, default=MODEL_SIZE[1])
    fit: EnumProperty(name="Fit", description="How the camera's view meets the video's aspect", items=FITS)
    hidden: EnumProperty(name="Hidden surface", description="The colour of what the first frame does not show", items=HIDDEN)
    background: EnumProperty(name="Background", description="The tracking colour where no surface is", items=BACKGROUNDS)
    write: EnumProperty(name="Also write", description="Files for other tools, beside the take", items=WRITTEN, options={"ENUM_FLAG"})
    points: StringProperty(
        name="Points", description="What the tracks follow: a grid such as 50x50 or 400, or a .csv, .json or .npz file of x, y and t", default="50x50"
    )
    weights: StringProperty(
        name="Weights",
        description="The model's weights: a folder, or owner/name on the Hugging Face hub; empty for the published ones",
        subtype="DIR_PATH", options=FOLDER_OR_HUB,
    )
    from_base: BoolProperty(name="From base", description="The weights are the base model's, without a tracking branch: make a new one")
    steps: IntProperty(name="Steps", description="How many times the model refines the video", min=1, max=MAX_STEPS, soft_max=100, default=50)
    guidance: EnumProperty(name="Guidance", description="How strongly the prompt leads, step by step", items=GUIDANCES)
    guidance_scale: FloatProperty(
        name="Guidance scale", description="How strongly the prompt leads at most", min=0, max=MAX_GUIDANCE_SCALE, soft_max=15, default=6
    )
    scheduler: EnumProperty(name="Sampler", description="How the noise is taken away", items=SCHEDULERS)
    tracking_range: EnumProperty(name="Tracking range", description="The range of the tracking video in the model", items=TRACKING_RANGES)
    image_latent_scale: EnumProperty(
        name="First frame's scale", description="How the first frame's latents are scaled", items=IMAGE_LATENT_SCALES
    )
    quality: EnumProperty(name="Quality", description="What may be given up for speed", items=QUALITIES, default="balanced", update=set_by_quality)
    memory_plan: StringProperty(
        name="Memory plan", description="How the model uses the graphics card's memory; das doctor names the plans", default="auto"
    )
    show_strip: BoolProperty(name="Add strip", description="Let the result grow as a strip in the Sequencer", default=True)


def request_of(scene: bpy.types.Scene, task: Task | None = None) -> GenerationRequest:
    """The request that a scene's settings mean, of its own task or of this one; not checked.

    A video's own range and rate are not known yet (:func:`footage.in_own_frames`).
    """
    settings = scene.das
    start, end = frame_range(scene)
    fields = {"first_frame": _first_frame(settings), **task_fields(settings.tasks, task or settings.task)}
    return GenerationRequest(
        engine=engine_of(scene),
        prompt=_styled(settings),
        negative_prompt=settings.negative_prompt,
        seed=settings.seed,
        width=settings.width,
        height=settings.height,
        frames=settings.frames,
        start=start,
        end=end,
        scene_fps=scene.render.fps / scene.render.fps_base,
        fit=settings.fit,
        hidden=settings.hidden,
        background=settings.background,
        write=tuple(name for name, *_ in WRITTEN if name in settings.write),
        points=settings.points if is_grid(settings.points) else bpy.path.abspath(settings.points),
        weights=bpy.path.abspath(settings.weights),
        guidance_scale=round(settings.guidance_scale, 5),  # Blender keeps it in single precision
        **{name: getattr(settings, name) for name in MODEL_FIELDS},
        **fields,
    )


def begins_with_scene(settings: DasSettings) -> bool:
    """Is the video's first frame the scene's own, so that it needs the scene's camera?"""
    if settings.task == "mesh_to_video":
        return True
    return settings.task != "motion_transfer" and settings.tasks.picture == "scene"


def engine_of(scene: bpy.types.Scene) -> str:
    """The engine that a scene's settings mean."""
    return default_engine() if scene.das.engine == DEFAULT_ENGINE else scene.das.engine


def apply_request(scene: bpy.types.Scene, request: GenerationRequest) -> None:
    """The reverse of :func:`request_of`: the panel shows the request again, as a range of its own."""
    settings = scene.das
    settings.range, settings.style, settings.lock_seed = "custom", "", True
    same = ("task", "engine", "prompt", "negative_prompt", "seed", "width", "height", "frames", "fit", "hidden", "background")
    for name in (*same, "weights", "guidance_scale", *MODEL_FIELDS):
        setattr(settings, name, getattr(request, name))
    settings.start, settings.end = round(request.start), round(request.end)
    settings.write, settings.points = set(request.write), request.points
    own = FirstFrame() if request.source else request.first_frame  # with a source, an image is its look
    settings.first_frame, settings.first_frame_path = own.source, own.path
    settings.first_frame_samples = request.first_frame.samples
    apply_task(settings.tasks, request)


def _styled(settings: DasSettings) -> str:
    """The prompt with the style after it."""
    if not settings.style:
        return settings.prompt
    return ", ".join(filter(None, (settings.prompt.rstrip(" ,"), settings.style)))


def _first_frame(settings: DasSettings) -> FirstFrame:
    if settings.first_frame == "file":
        return FirstFrame(source="file", path=bpy.path.abspath(settings.first_frame_path))
    samples = settings.first_frame_samples if settings.first_frame == "cycles" else 0
    return FirstFrame(source=settings.first_frame, samples=samples)


def register() -> None:
    task_properties.register()
    bpy.utils.register_class(DasSettings)
    bpy.types.Scene.das = PointerProperty(type=DasSettings)


def unregister() -> None:
    del bpy.types.Scene.das
    bpy.utils.unregister_class(DasSettings)
    task_properties.unregister()
