"""One configuration per experiment: get_config(arg)."""
