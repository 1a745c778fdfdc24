"""What `das` does in Blender's Python: a module a command, each with ``run(args, reporter) -> exit code``."""
