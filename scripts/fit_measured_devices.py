"""Make the packaged coefficients of the measured devices again from the measurements.

    SOFTCELL_DATA=path/to/data python scripts/fit_measured_devices.py [--check]

`--check` compares with the packaged files instead of writing them, and exits 1 on a difference.
"""

import os
import sys
from pathlib import Path

import numpy as np

from softcell.devices import device_toml, fit_table
from softcell.devices.measured_file import residuals_toml
from softcell.devices.noise_law import residual_law

HERE = Path(__file__).parents[1] / "src/softcell/devices/coefficients"
CELLS = (
    (
        "pcm-partial-reset",
        "pcm_partial_reset.csv.gz",
        "resistance_ohm",
        "Engel et al., IEDM 2014; data of Zarcone et al., Sci. Rep. 10 (2020): 40 pulse voltages, "
        "380 reads each",
    ),
    (
        "pcm-sweep",
        "pcm_sweep_7_devices.csv.gz",
        "resistance_ohm",
        "data of Zarcone et al., Sci. Rep. 10 (2020): 7 physical cells, 101 pulse voltages, "
        "111 to 120 sweeps",
    ),
    (
        "rram-reset",
        "rram_reset_sweep.csv.gz",
        "hrs_resistance_ohm",
        "data of Zarcone et al., Sci. Rep. 10 (2020): 20 RESET voltages, 50 cycles each",
    ),
)
# The quietest level, 2.25 to 2.30 V, reads with 0.019 in log10 of the resistance, writing included:
# the bound on read noise that the data give. The other cells take the bound that the fit finds.
READ_NOISE = {"pcm-partial-reset": 0.019}


def main() -> int:
    data = os.environ.get("SOFTCELL_DATA")
    if not data:
        print("set SOFTCELL_DATA to the folder that holds cells/", file=sys.stderr)
        return 2
    changed = 0
    for name, file, output, source in CELLS:
        inputs = "reset_voltage_V" if name == "rram-reset" else "pulse_voltage_V"
        fit = fit_table(
            Path(data) / "cells" / file,
            name=name,
            source=source,
            input_column=inputs,
            output_column=output,
            read_noise=READ_NOISE.get(name),
            law="plain",
        )
        readings = np.array([len(each) for each in fit.residuals])
        texts = {
            f"{name}.toml": device_toml(fit.device),
            f"{name}.residuals.toml": residuals_toml(readings, residual_law(fit.residuals)),
        }
        for file, text in texts.items():
            target = HERE / file
            if "--check" in sys.argv:
                same = target.exists() and target.read_text() == text
                print(f"{file}: {'unchanged' if same else 'differs'}")
                changed += not same
            else:
                target.write_text(text)
        print(f"{name}: read noise {fit.device.read_noise:.4f}, {fit.device.mean.shape} means")
        for note in fit.notes:
            print(f"  {note}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
