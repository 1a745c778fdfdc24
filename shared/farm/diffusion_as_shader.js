// SPDX-License-Identifier: GPL-3.0-or-later
// Diffusion as Shader for Blender: a job type of Flamenco, written here by `das farm flamenco --install`.
//
// capture ──> generate seed 1 ──> encode seed 1
//        └──> generate seed 2 ──> encode seed 2 ...
//
// Each task is one command of `das` that can be run again: --resume goes on with what stands and makes anew what was
// half-made. Settings that are left empty are the scene's own, those of its DaS panel.

const JOB_TYPE = {
    label: "Diffusion as Shader",
    description: "Capture a shot, and generate a video of it for each seed",
    settings: [
        { key: "frames", type: "string", required: true, label: "Frames",
          eval: "f'{C.scene.das.start}:{C.scene.das.end}' if hasattr(C.scene, 'das') and C.scene.das.range == 'custom' else f'{C.scene.frame_start}:{C.scene.frame_end}'",
          evalInfo: { showLinkButton: true, description: "The range of the scene" },
          description: "The scene frames A:B, both inclusive" },
        { key: "count", type: "int32", default: 49, propargs: { min: 9, max: 1025 }, label: "Results",
          eval: "C.scene.das.frames if hasattr(C.scene, 'das') else 49",
          evalInfo: { showLinkButton: true, description: "The count of the DaS panel" },
          description: "How many frames to make, sampled evenly from the range: 8N+1" },
        { key: "camera", type: "string", default: "", label: "Camera",
          description: "A camera of the scene, throughout; empty: the scene's own, camera markers followed" },
        { key: "first_frame", type: "string", default: "", label: "First Frame",
          description: "render, workbench, cycles, render:SAMPLES, cycles:SAMPLES or an image file; empty: as in the panel" },
        { key: "engine", type: "string", choices: ["das", "projection"], default: "das", label: "Engine",
          description: "das is the diffusion model, projection warps the first frame and needs no GPU" },
        { key: "prompt", type: "string", label: "Prompt",
          eval: "C.scene.das.prompt if hasattr(C.scene, 'das') else ''",
          evalInfo: { showLinkButton: true, description: "The prompt of the DaS panel" },
          description: "What the video shows, in words" },
        { key: "negative_prompt", type: "string", default: "", label: "Negative Prompt",
          description: "What the video must not show; empty: as in the panel" },
        { key: "seeds", type: "string", required: true, default: "0", label: "Seeds",
          description: "A video for each of them: '7', '1, 5, 9' or '1-4'" },
        { key: "steps", type: "int32", default: 50, propargs: { min: 1, max: 1000, soft_max: 100 }, label: "Steps",
          eval: "C.scene.das.steps if hasattr(C.scene, 'das') else 50",
          evalInfo: { showLinkButton: true, description: "The steps of the DaS panel" },
          description: "How many times the model refines the video" },
        { key: "quality", type: "string", choices: ["draft", "balanced", "final"], default: "balanced", label: "Quality",
          eval: "C.scene.das.quality if hasattr(C.scene, 'das') else 'balanced'",
          evalInfo: { showLinkButton: true, description: "The quality of the DaS panel" },
          description: "What the model may give up for speed" },
        { key: "weights", type: "string", default: "", label: "Weights",
          description: "The model's weights, a folder or owner/name; empty: as in the panel" },
        { key: "lossless", type: "string", choices: ["none", "ffv1", "h264"], default: "ffv1", label: "Lossless Video",
          description: "Write tracking video and results as lossless video too" },

        { key: "render_output_root", type: "string", subtype: "dir_path", required: true, visible: "submission",
          label: "Output Root", description: "The folder on the shared storage in which the job gets one of its own" },
        { key: "render_output_path", type: "string", subtype: "dir_path", editable: false, label: "Output",
          eval: "str(Path(abspath(settings.render_output_root), jobname, '{timestamp}'))",
          description: "The folder of this job's takes" },

        { key: "run_by", type: "string", choices: ["das", "Blender"], default: "das", visible: "submission", label: "Run By",
          description: "das: Flamenco's variable {das} is the program. Blender: {blender}, whose extension is enabled on every worker" },
        { key: "generation_task_type", type: "string", required: true, default: "misc", visible: "submission",
          label: "Task Type", description: "The type of the tasks that generate, so that only workers with a GPU take them" },

        { key: "blendfile", type: "string", required: true, visible: "web", description: "The .blend file" },
        { key: "scene", type: "string", required: true, visible: "web", eval: "C.scene.name", description: "The scene in it" },
    ],
};

const MOST_SEEDS = 100;
const LARGEST_SEED = 4294967295;

function compileJob(job) {
    const settings = job.settings;
    const folder = settings.render_output_path.replace("{timestamp}", formatTimestampLocal(job.created));
    settings.render_output_path = folder; // the web interface shows where it went
    const seeds = parseSeeds(settings.seeds);

    const capture = captureTask(settings, path.join(folder, "capture"));
    job.addTask(capture);
    for (const seed of seeds) {
        const take = path.join(folder, "seed-" + seed);
        const generate = generateTask(settings, path.join(folder, "capture"), take, seed);
        generate.addDependency(capture);
        job.addTask(generate);
        if (settings.lossless && settings.lossless !== "none") {
            const encode = encodeTask(settings, take, seed);
            encode.addDependency(generate);
            job.addTask(encode);
        }
    }
}

function captureTask(settings, take) {
    const task = author.Task("capture", "blender");
    const words = ["track", settings.blendfile, "-o", take, "--resume", "--scene", settings.scene, "--frames=" + settings.frames]
        .concat(option("--count", settings.count))
        .concat(option("--camera", settings.camera))
        .concat(option("--first-frame", settings.first_frame));
    task.addCommand(author.Command("exec", program(settings, words)));
    return task;
}

function generateTask(settings, capture, take, seed) {
    const task = author.Task("generate seed " + seed, settings.generation_task_type);
    const words = ["generate", capture, "-o", take, "--resume", "--seed", String(seed)]
        .concat(option("--engine", settings.engine))
        .concat(option("--prompt", settings.prompt))
        .concat(option("--negative-prompt", settings.negative_prompt))
        .concat(settings.engine === "das" ? modelOptions(settings) : []);
    const das = program(settings, words);
    // Not exec: from this command's output the worker takes the lines "Saved: '...'", and the Manager shows the pictures.
    task.addCommand(author.Command("blender-render", {
        exe: das.exe, exeArgs: "", argsBefore: [], blendfile: "", args: das.args,
    }));
    return task;
}

function modelOptions(settings) {
    return option("--steps", settings.steps)
        .concat(option("--quality", settings.quality))
        .concat(option("--weights", settings.weights));
}

function encodeTask(settings, take, seed) {
    const task = author.Task("encode seed " + seed, "misc");
    task.addCommand(author.Command("exec", program(settings, ["encode", take, "--codec", settings.lossless])));
    return task;
}

// The parameters of a command of `das`, as exec has them.
function program(settings, words) {
    if (settings.run_by === "Blender") {
        return { exe: "{blender}", args: ["--background", "--command", "das"].concat(words) };
    }
    return { exe: "{das}", args: words };
}

// An option with its value, or nothing where the setting is empty. One word, as a value may begin with a dash.
function option(name, value) {
    return value === undefined || value === null || value === "" ? [] : [name + "=" + value];
}

// "7", "1, 5, 9" or "1-4" to numbers, each once.
function parseSeeds(text) {
    const seeds = [];
    for (const part of String(text).split(",")) {
        const found = /^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/.exec(part);
        if (!found) {
            throw "The seeds '" + text + "' are not understood. Give them as '7', '1, 5, 9' or '1-4'.";
        }
        const first = Number(found[1]);
        const last = found[2] === undefined ? first : Number(found[2]);
        if (last < first || last > LARGEST_SEED) {
            throw "The seeds '" + part.trim() + "' are reversed or too large. Give them as FIRST-LAST, up to " + LARGEST_SEED + ".";
        }
        if (seeds.length + last - first >= MOST_SEEDS) {
            throw "These are more than " + MOST_SEEDS + " seeds. Submit several jobs.";
        }
        for (let seed = first; seed <= last; seed++) {
            if (seeds.indexOf(seed) < 0) {
                seeds.push(seed);
            }
        }
    }
    return seeds;
}
