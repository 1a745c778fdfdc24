"""Stand-alone scripts of the standard library: environments, demo, tests, and the extension's zip."""
