"""`python -m marlrobust`."""

from marlrobust.cli import main

main(prog_name="marlrobust")
