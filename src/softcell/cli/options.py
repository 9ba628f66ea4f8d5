"""Options that several verbs have, and lists in one option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.codes.schemes import schemes_that
from softcell.errors import InputError

DEFAULT_DEVICE = "pcm-partial-reset"
DEFAULT_TASK = "digits"
DEFAULT_CELLS = 2.0

DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="SPEC",
        help="Device: a name, NAME:option=value, a .toml file from `softcell fit`, or module:Class "
        "of your own, with +stuck:..., +spread:... or +readout:... behind it.",
    ),
]
OwnDeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="MODULE:CLASS",
        help="Where the image is of a device of your own: its Python class, which is imported.",
    ),
]
AgeOption = Annotated[
    str, typer.Option("--age", metavar="AGE", help="Age of the cells: 20s, 1h, 30d or 10y.")
]
ReadAgeOption = Annotated[
    str | None,
    typer.Option(
        "--age", metavar="AGE", help="Age of the cells: 20s, 1h, 30d or 10y.", show_default="0"
    ),
]
SalvageFlag = Annotated[
    bool,
    typer.Option(
        "--salvage",
        help="Where code words failed, restore what is left; lost weights take the mean of their "
        "row.",
    ),
]
FillFromOption = Annotated[
    Path | None,
    typer.Option(
        "--fill-from",
        metavar="MODEL",
        help="With --salvage, safetensors file whose weights take the place of lost ones.",
    ),
]
AgesOption = Annotated[
    str,
    typer.Option(
        "--age",
        metavar="AGE[..AGE]",
        help="Age up to which the cells must be readable, such as 20s, 1h, 30d or 10y; or a span "
        f"of ages, such as 1d..10y, for which look-up codes ({schemes_that(look_up=True)}) are "
        "designed.",
    ),
]
AgeUnknownFlag = Annotated[
    bool,
    typer.Option(
        "--age-unknown",
        help=f"The decoder is not told the age: for {schemes_that(look_up=True)}, written for a "
        "span of ages.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Which simulated chip.")]
FirstSeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of the first chip; the others count on.")
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Number of simulated chips.")]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output instead of text.")
]
JsonFile = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the results as JSON (softcell.results/1); - prints."
    ),
]
TaskOption = Annotated[
    str, typer.Option("--task", help="Task: digits (needs no data), mnist, cifar10, imagenet.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="The task's network; by default its first.")
]
ImagesOption = Annotated[
    int | None, typer.Option("--images", min=1, help="Number of test images; by default all.")
]
SensitivityOption = Annotated[
    Path | None,
    typer.Option(
        "--sensitivity", metavar="FILE", help="Diagonal Fisher information of `softcell calibrate`."
    ),
]
NoSensitivityFlag = Annotated[
    bool,
    typer.Option(
        "--no-sensitivity",
        help="Do without Fisher information: a relative error counts the same in every tensor.",
    ),
]


def listed(text: str) -> list[str]:
    """Return the parts of a list with commas.

    Example:
        >>> listed("int8, combined")
        ['int8', 'combined']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def listed_numbers(text: str, option: str) -> list[float]:
    """Return the numbers of a list with commas.

    Raises:
        InputError: A part is not a number.

    Example:
        >>> listed_numbers("1,2.5", "--cells-per-weight")
        [1.0, 2.5]
    """
    try:
        return [float(part) for part in listed(text)]
    except ValueError:
        raise InputError(f"{option}: expected numbers such as 1,2,4, got {text!r}") from None
