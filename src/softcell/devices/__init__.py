"""Memory cells: what is written, how it ages, what is read."""

from softcell.devices.ageing import ageing_note, measured_seconds
from softcell.devices.catalogue import (
    DEVICES,
    device_from,
    device_of,
    load_device,
    parse_device,
)
from softcell.devices.device import LEVEL_VALUES, LEVELS, Axis, Cells, Device, plain_levels
from softcell.devices.fitting import Fit, fit_measurements, fit_table
from softcell.devices.imperfections import ReadOut, Spread, Stuck
from softcell.devices.measured import MeasuredCell
from softcell.devices.measured_file import device_toml
from softcell.devices.measurements import Evidence
from softcell.devices.mixture import mixture_law
from softcell.devices.mushroom import MushroomCell
from softcell.devices.noise_law import NoiseLaw
from softcell.devices.noise_share import read_noise_share
from softcell.devices.own import OwnDevice, allow_device, installed
from softcell.devices.reference import GaussianCell, IdealCell
from softcell.devices.relaxing import RelaxingCellB, RelaxingCellC
from softcell.devices.simulated import SimulatedCells
from softcell.devices.wan import WanCell

__all__ = [
    "DEVICES",
    "LEVELS",
    "LEVEL_VALUES",
    "Axis",
    "Cells",
    "Device",
    "Evidence",
    "Fit",
    "GaussianCell",
    "IdealCell",
    "MeasuredCell",
    "MushroomCell",
    "NoiseLaw",
    "OwnDevice",
    "ReadOut",
    "RelaxingCellB",
    "RelaxingCellC",
    "SimulatedCells",
    "Spread",
    "Stuck",
    "WanCell",
    "ageing_note",
    "allow_device",
    "device_from",
    "device_of",
    "device_toml",
    "fit_measurements",
    "fit_table",
    "installed",
    "load_device",
    "measured_seconds",
    "mixture_law",
    "parse_device",
    "plain_levels",
    "read_noise_share",
]
