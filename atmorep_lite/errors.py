"""The one exception that a user is meant to read."""


class UserError(ValueError):
    """Bad input, told in one sentence: the thing, what was expected, what to do.

    The command line prints the sentence and leaves with exit code 2; in a notebook it ends the traceback.
    """
