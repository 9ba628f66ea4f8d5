"""What `pip install 'softcell[EXTRA]'` adds: packages that serve one feature each."""

from __future__ import annotations

from importlib.util import find_spec

from softcell.errors import InputError

EXTRAS = {
    "plot": ("matplotlib", "figures are drawn by matplotlib"),
    "images": ("PIL", "images of CIFAR-10 and ImageNet are read by pillow"),
    "digits": ("sklearn", "images of the task digits come with scikit-learn"),
}
"""The module that an extra brings, and what for."""


def require_extra(name: str) -> None:
    """Raise InputError unless the package of an extra is installed.

    Call it before the package is imported, in the function that needs it.

    Example:
        >>> require_extra("plot")
    """
    module, purpose = EXTRAS[name]
    if find_spec(module) is None:
        raise InputError(
            f"{purpose}, which is not installed: get it with pip install 'softcell[{name}]'"
        )
