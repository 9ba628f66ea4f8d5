"""What can go wrong, in words that say what was expected, what came and what to do next."""

from __future__ import annotations


class SoftcellError(Exception):
    """Base of every error that a user can cause or should see; its text is one line."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # what a file names may hold line breaks


class InputError(SoftcellError, ValueError):
    """A value, file or option that a user gave cannot be used."""


class OwnDeviceError(InputError):
    """A device from outside the package is not there, or is not what a device must be."""


class FormatError(SoftcellError, ValueError):
    """A file is truncated, altered or of another kind than expected."""


class InfeasibleError(SoftcellError, ValueError):
    """What was asked for cannot be reached on this device or with this budget."""


class DecodingError(SoftcellError):
    """Code words failed where a single wrong bit makes the rest meaningless."""


class DecodingWarning(UserWarning):
    """Code words could not be corrected: what was decoded holds wrong weights."""
