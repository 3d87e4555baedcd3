"""Errors that are the user's to mend."""


class UserError(ValueError):
    """A mistake in what the user gave; the message is one clear sentence: what, where, what to do.

    Command-line programs print it without a stack trace and exit with code 2.
    """


class SessionWarning(UserWarning):
    """Something the user should know that is no mistake: nothing was found, results are out of date."""
