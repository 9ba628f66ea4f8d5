"""A network's plan, for the way that it is to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softcell.allocate import Plan, Procedure, make_plan
from softcell.devices import Device
from softcell.durations import Ages
from softcell.network.network import Network, opened
from softcell.progress import Progress

if TYPE_CHECKING:
    from softcell.allocate.survey import Known
    from softcell.codes.entropy.plan.curves import EntropyCurves, Quantiser
    from softcell.curvature import Calibration


def plan_network(
    network: Network,
    device: Device,
    scheme: str,
    *,
    cells_per_weight: float | None = None,
    ages: Ages | float = 0.0,
    procedure: Procedure | None = None,
    vector_bits: int | None = None,
    calibration: Calibration | None = None,
    quantiser: Quantiser | None = None,
    curves: EntropyCurves | None = None,
    known: Known | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan the storage of a network.

    Args:
        network: The network.
        device: The device.
        scheme: Name of the scheme.
        cells_per_weight: All cells over all weights, for schemes that take a number.
        ages: Age up to which the cells must be readable, or the ages that they are read at.
        procedure: How it is written; by default without the feedback loop.
        vector_bits: Bits of a number in vectors; by default 16 without the loop, and with it as
            `make_plan` chooses.
        calibration: In place of the network's own, such as one whose sensitivities were corrected.
        quantiser: How entropy-coded weights are quantised in the loop.
        curves: Those of an earlier plan.
        known: Surveys of earlier plans with the same loop and sparsity; added to.
        progress: Called as the work goes on.

    Raises:
        InputError: What is asked for cannot be, or needs what is not known of the network.
        InfeasibleError: There are too few cells.
    """
    procedure = procedure or Procedure()
    if vector_bits is None and not procedure.loop:
        vector_bits = 16
    closed = procedure.loop and procedure.feedback
    with opened(network, procedure) as weights:
        return make_plan(
            weights,
            device,
            scheme,
            cells_per_weight=cells_per_weight,
            age_seconds=ages,
            sensitivity=network.sensitivity,
            vector_bits=vector_bits,
            calibration=(calibration or network.calibration) if closed else None,
            procedure=procedure,
            quantiser=quantiser,
            curves=curves,
            keep=network.keep,
            known=known,
            progress=progress,
        )
