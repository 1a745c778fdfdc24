"""Fine-tuning of Diffusion as Shader: the tracking branch, or LoRA on it and on the main blocks.

config.py    one run's settings, from TOML, with sweeps      order.py       which clips a step sees, and its draws
data.py      clips as the model takes them                   cache.py       latents and texts kept on the disk
loss.py      the mean squared error of v                     parameters.py  what is trained
loop.py      the run, step by step                           checkpoints.py what is kept, and how a run goes on
validation.py  what it has learnt, on clips held out         export.py      the published layout, for the engine
memory.py    what a run needs, before it begins              sweep.py       several runs and their table
"""
