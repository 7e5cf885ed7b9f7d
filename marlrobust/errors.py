"""What goes wrong because of what a user gave: the command line prints the sentence and ends with exit code 2."""


class UserError(Exception):
    """A mistake that the user can mend; its text says how."""
