"""Refuses a bare `import reports`: the import name is `marlrobust.reports`."""

if __name__ == "reports":
    raise ImportError("import marlrobust.reports instead of reports: a second copy of it would have a second registry")
