"""Write small images and plans by every scheme, and what they decode to.

Made once with softcell 0.1.0 (commit 45bf0f7), before codes had one protocol: what exists must
decode to the same bytes, whatever becomes of the source. From the root of the repository at that
commit:

    python tests/vectors/make_image_vectors.py tests/vectors/images
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

import softcell
from softcell.allocate.plan import make_plan
from softcell.allocate.plan_file import PlanFile, network_digest, save_plan
from softcell.codes.schemes import SCHEMES, parse_scheme
from softcell.curvature import calibrate
from softcell.devices import parse_device
from softcell.durations import parse_ages
from softcell.image.write import write_image
from softcell.weights import StateDictWeights, WeightsWriter

DEVICE = "pcm-partial-reset"
CELLS = 2.5
AGED = "pcm-mushroom"
WRAPPED = "pcm-mushroom+stuck:low=0.001,high=0.0005+spread:sigma=0.02+readout:bits=6"
SEED = 7


def network() -> dict[str, np.ndarray]:
    """Return a small network of every kind of tensor."""
    draw = np.random.default_rng(0)
    return {
        "conv.weight": draw.laplace(size=(8, 4, 3, 3)).astype(np.float32),
        "conv.bias": draw.normal(size=8).astype(np.float32),
        "fc.weight": (0.1 * draw.normal(size=(24, 40))).astype(np.float32),
        "fc.scale": np.ones(24, np.float32),
        "half": draw.normal(size=(6, 16)).astype(np.float16),
        "steps": np.arange(3, dtype=np.int64),
    }


def module() -> nn.Module:
    """Return a small torch network, the same for every call."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(216, 5),
    ).eval()


def keep(folder: Path, name: str, image: Path, **reading: object) -> dict[str, object]:
    """Keep what an image decodes to."""
    tensors = softcell.read(image, **reading)
    np.savez_compressed(folder / f"{name}.npz", **tensors)
    return {"image": image.name, "tensors": f"{name}.npz", "reading": reading}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = network()
    records = []
    infos = [StateDictWeights(state).info(name) for name in state]
    with WeightsWriter(folder / "network.safetensors", infos) as writer:
        for name, values in state.items():
            writer.write(name, values)
        writer.finish()
    spans = [
        ("coarse-to-fine", True),
        ("joint-map", True),
        ("strong-digital", True),
        ("hybrid", False),
    ]
    cases = [(scheme, DEVICE, "0", True) for scheme in (*SCHEMES, "sign+sensitivity")]
    cases += [(scheme, AGED, "1d..10y", told) for scheme, told in spans]
    cases += [("coarse-to-fine", WRAPPED, "1h", True), ("int8", WRAPPED, "1h", True)]
    cases += [("coarse-to-fine", AGED, "1d..10y", False), ("joint-map", AGED, "1d..10y", False)]
    sensitivity = {n: np.abs(v.astype(np.float64)) + 0.1 for n, v in state.items() if v.ndim > 1}
    for scheme, device, age, told in cases:
        name = (
            scheme
            if age == "0"
            else f"{scheme}-{age.replace('..', '-')}{'' if told else '-untold'}"
        )
        weights = StateDictWeights(state)
        plan = make_plan(
            weights,
            parse_device(device),
            scheme,
            cells_per_weight=CELLS if parse_scheme(scheme).number_format is None else None,
            age_seconds=parse_ages(age, told=told),
            sensitivity=sensitivity,
        )
        save_plan(folder / f"{name}.json", PlanFile(plan, network_digest(weights), {}, {}))
        write_image(weights, plan, folder / f"{name}.cells")
        reading = {"seed": SEED, "age": "30d" if ".." in age else age, "age_unknown": not told}
        records.append(
            {"plan": f"{name}.json", **keep(folder, name, folder / f"{name}.cells", **reading)}
        )
    net = module()
    inputs = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    calibration = calibrate(net, inputs, seed=0)
    own = {n: t.numpy() for n, t in net.state_dict().items()}
    for scheme in (
        "packed",
        "coarse-to-fine",
        "joint-map",
        "inversion+sign+adaptive",
        "combined",
        "strong-digital",
    ):
        name, device = f"{scheme}-closed", parse_device(DEVICE)
        softcell.write(
            own,
            folder / f"{name}.cells",
            scheme=scheme,
            cells_per_weight=CELLS,
            calibration=calibration,
            seed=SEED,
        )
        records.append(keep(folder, name, folder / f"{name}.cells", seed=SEED, age="0"))
    probe = np.random.default_rng(5).normal(size=(40, 16)).astype(np.float32)

    def evaluate(tensors) -> float:
        values = np.asarray(tensors["fc.weight"], np.float64)
        return float(
            ((values @ probe > 0) == (state["fc.weight"].astype(np.float64) @ probe > 0)).mean()
        )

    results = softcell.compare(state, evaluate, device=DEVICE, cells_per_weight=(CELLS,), seeds=2)
    rows = [
        {
            key: value
            for key, value in asdict(result).items()
            if key
            in (
                "scheme",
                "target_cells_per_weight",
                "cells_per_weight",
                "side_cells_per_weight",
                "accuracies",
            )
        }
        for result in results
    ]
    (folder / "vectors.json").write_text(
        json.dumps({"decoded": records, "compare": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
