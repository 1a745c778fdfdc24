"""What `das` does in the backend's Python: a module a command, each with ``run(args, reporter) -> exit code``."""
