"""Render farms: Flamenco's job type, and jobs of Deadline's CommandLine plugin."""
