"""The outside world: each module the only importer of its library, whose errors become ours."""
