"""Files of measurements: what stands in them, and what their columns are."""

from softcell.devices.measurements.columns import Columns, choose_columns
from softcell.devices.measurements.evidence import Evidence, choose_law, folds
from softcell.devices.measurements.inputs import cell_labels, measured_levels
from softcell.devices.measurements.laws import LAWS, fitted_law
from softcell.devices.measurements.levels import grouped_inputs
from softcell.devices.measurements.numbers import column_numbers, split_unit
from softcell.devices.measurements.readings import Readings, usable_readings
from softcell.devices.measurements.samples import Samples
from softcell.devices.measurements.statistics import (
    Statistics,
    explained,
    separation,
    statistics,
)
from softcell.devices.measurements.table import Table, read_table
from softcell.devices.measurements.unused import felt_columns

__all__ = [
    "LAWS",
    "Columns",
    "Evidence",
    "Readings",
    "Samples",
    "Statistics",
    "Table",
    "cell_labels",
    "choose_columns",
    "choose_law",
    "column_numbers",
    "explained",
    "felt_columns",
    "fitted_law",
    "folds",
    "grouped_inputs",
    "measured_levels",
    "read_table",
    "separation",
    "split_unit",
    "statistics",
    "usable_readings",
]
