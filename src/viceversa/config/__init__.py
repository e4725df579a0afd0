"""Settings of a run: dataclasses, recipes, command line, run folder. No module loads torch."""
