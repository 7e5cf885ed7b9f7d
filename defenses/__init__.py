"""Refuses a bare `import defenses`: the import name is `marlrobust.defenses`."""

if __name__ == "defenses":
    raise ImportError(
        "import marlrobust.defenses instead of defenses: a second copy of it would have a second registry"
    )
