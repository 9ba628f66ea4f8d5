"""A network into a real chip: the write loop, closed through a lab script."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from softcell.allocate import Plan
from softcell.allocate.plan_file import network_digest, plan_digest
from softcell.atomic_file import AtomicFile
from softcell.errors import InputError, SoftcellError
from softcell.image.batch import Exchange
from softcell.image.bench import Bench, Unread
from softcell.image.cell_image import CellImage
from softcell.image.exchange_journal import ExchangeJournal, journal_path
from softcell.image.header import ImageHeader
from softcell.image.readings import simulated_chip
from softcell.network.network import Network
from softcell.network.write import write_network
from softcell.progress import Progress


def require_chip_name(name: str) -> None:
    """Make sure that a real chip can be named so.

    Raises:
        InputError: It is empty, has more than one line, or names a simulated chip.
    """
    if not name.strip() or not name.isprintable() or name.startswith(simulated_chip(0)[:-1]):
        raise InputError(
            f"{name!r} is no name for a real chip; give printable text such as wafer3-die7"
        )


@dataclass(frozen=True)
class ProgrammedChip:
    """What came of programming a chip.

    Args:
        header: The image's header.
        unread: Cells of which there was no reading to believe.
    """

    header: ImageHeader
    unread: Unread


def open_journal(
    network: Network,
    plan: Plan,
    path: Path | str,
    *,
    chip: str,
    restart: bool = False,
    in_folder: bool = False,
) -> ExchangeJournal:
    """Return what was exchanged for an image before programming its chip was broken off, if any.

    Args:
        network: The network.
        plan: Its plan.
        path: Cell image to write, beside which it is kept.
        chip: Name of the chip.
        restart: Begin anew, although something was exchanged.
        in_folder: Batches are files, which stay when programming is broken off.

    Raises:
        InputError: It is of another network, plan or chip, or cannot be kept there.
        FormatError: It is damaged.
    """
    require_chip_name(chip)
    with network.source() as weights:
        facts = {
            "chip": chip,
            "device": plan.device.name,
            "network": network_digest(weights),
            "plan": plan_digest(plan),
        }
    return ExchangeJournal(journal_path(path), facts, restart=restart, unanswered_stay=in_folder)


def program_chip(
    network: Network,
    plan: Plan,
    path: Path | str,
    *,
    chip: str,
    exchange: Exchange,
    journal: ExchangeJournal | None = None,
    progress: Progress | None = None,
) -> ProgrammedChip:
    """Write a network to a real chip through the feedback loop, and keep its image.

    Args:
        network: The network.
        plan: Its plan; the device is what the chip's cells are taken to be.
        path: Cell image to write. It appears when all cells are programmed and not before.
        chip: Name of the chip, which alone the image is for.
        exchange: Programs a batch of cells and returns their readings.
        journal: Keeps what is exchanged until the image is there; batches that it holds are not
            exchanged again, and the image is as if it had never been broken off.
        progress: Called with (what, done, total).

    Raises:
        InputError: The plan is none for the loop or for this network, or a reading cannot be used.
    """
    require_chip_name(chip)
    if not plan.procedure.loop:
        raise InputError("a real chip is programmed through the feedback loop; plan for that")
    bench = Bench(plan.device, exchange, journal)
    try:
        with ExitStack() as unfinished:
            file = AtomicFile(path)
            unfinished.callback(file.discard)
            header, _ = write_network(
                network, plan, file, memory=bench, chip=chip, progress=progress
            )
            with CellImage(file.temporary) as image:
                bench.program_rest(image, progress)
            file.commit()
    except SoftcellError as error:
        if journal is None or not journal.batches:
            raise
        raise type(error)(f"{error}; {journal.kept}") from error
    if journal is not None:
        journal.remove()
    return ProgrammedChip(header, bench.unread)
