"""Clips of Blender scenes to train on: `das dataset blender`."""
