from watching import make_watcher, watched  # noqa: F401
