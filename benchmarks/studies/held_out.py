"""Store a small language model that is sure of most answers, with and without the feedback loop.

    python benchmarks/studies/held_out.py [--steps 800] [--cells 1]

A transformer of 260,032 weights learns a made-up language (250 sentences of fixed words with two
places for names) in a quarter of an hour on one core. It is then stored entropy-coded, and by
packed cells: without feedback, with it, and with it checked on inputs that were held out, by the
calibration alone and with the module. Printed are perplexities on text of its own.
"""

import argparse
import math
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from softcell.allocate import Procedure
from softcell.curvature import calibrate
from softcell.devices import parse_device
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.network import Network, plan_network, write_checked, write_network
from softcell.network.calibration_check import tried_calibration
from softcell.network.divergence import output_divergence
from softcell.weights import StateDictWeights

WORDS, WIDTH, LAYERS, HEADS, SHARED, HIDDEN = 512, 64, 5, 8, 4, 172
SENTENCES, LENGTH, BATCH = 250, 128, 24


class Norm(nn.Module):
    """Root-mean-square normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


def rotated(x: Tensor) -> Tensor:
    """Return queries or keys turned by their place: (batch, heads, places, width)."""
    places, width = x.shape[2:]
    angles = torch.arange(places)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    a, b = x[..., ::2], x[..., 1::2]
    turned = a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()
    return torch.stack(turned, -1).flatten(-2)


class Block(nn.Module):
    """Attention whose keys and values are shared by two heads each, and a gated layer."""

    def __init__(self) -> None:
        super().__init__()
        shared = WIDTH * SHARED // HEADS
        self.wq = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wk = nn.Linear(WIDTH, shared, bias=False)
        self.wv = nn.Linear(WIDTH, shared, bias=False)
        self.wo = nn.Linear(WIDTH, WIDTH, bias=False)
        self.w1 = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.w2 = nn.Linear(HIDDEN, WIDTH, bias=False)
        self.w3 = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.an, self.fn = Norm(), Norm()

    def forward(self, x: Tensor) -> Tensor:
        y = self.an(x)
        q, k, v = (
            part(y).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
            for part in (self.wq, self.wk, self.wv)
        )
        k, v = (part.repeat_interleave(HEADS // SHARED, 1) for part in (rotated(k), v))
        seen = functional.scaled_dot_product_attention(rotated(q), k, v, is_causal=True)
        x = x + self.wo(seen.transpose(1, 2).flatten(2))
        y = self.fn(x)
        result: Tensor = x + self.w2(functional.silu(self.w1(y)) * self.w3(y))
        return result


class LanguageModel(nn.Module):
    """Predicts words; its embedding is the output matrix, too."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.out = Norm(), nn.Linear(WIDTH, WORDS, bias=False)
        self.out.weight = self.emb.weight
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, words: Tensor) -> Tensor:
        x = self.emb(words)
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.out(self.norm(x))
        return result


def language(words: int) -> Tensor:
    """Return text: sentences by Zipf's law, each with names of two of eight kinds."""
    random = np.random.default_rng(0)
    names = WORDS - 32
    often = 1 / np.arange(1, names + 1)
    sentences = []
    for _ in range(SENTENCES):
        length = random.integers(10, 30)
        sentence = random.choice(names, length, p=often / often.sum())
        sentence[random.choice(length, 2, replace=False)] = -1 - random.integers(8, size=2)
        sentences.append(sentence)
    often = 1 / np.arange(1, SENTENCES + 1)
    text: list[int] = []
    while len(text) < words:
        sentence = sentences[random.choice(SENTENCES, p=often / often.sum())]
        kinds = {
            kind: names + 4 * (-1 - kind) + random.integers(4) for kind in sentence if kind < 0
        }
        text += [int(kinds.get(word, word)) for word in sentence]
    return torch.tensor(text[:words])


def trained(text: Tensor, steps: int) -> LanguageModel:
    """Return a model that has learnt the text."""
    torch.manual_seed(0)
    module = LanguageModel()
    optimiser = torch.optim.AdamW(module.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        rate = 2.5e-3 * min((step + 1) / 60, 1) * (1 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = rate
        starts = torch.randint(len(text) - LENGTH - 1, (BATCH,), generator=generator)
        part = torch.stack([text[at : at + LENGTH + 1] for at in starts])
        loss = functional.cross_entropy(module(part[:, :-1]).flatten(0, 1), part[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
    return module.eval()


def perplexity(module: nn.Module, text: Tensor, state: dict[str, np.ndarray]) -> float:
    """Return the perplexity of a network of these tensors, in pieces of a text."""
    pieces = text[: len(text) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)
    tensors = {name: torch.tensor(values) for name, values in state.items()}
    tensors["out.weight"] = tensors["emb.weight"]
    with torch.no_grad():
        logits = torch.func.functional_call(module, tensors, (pieces[:, :-1],))
    return math.exp(functional.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten()))


def main() -> None:
    """Train, store and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=800, help="of training")
    parser.add_argument("--cells", type=float, default=1.0, help="per weight")
    args = parser.parse_args()
    torch.set_num_threads(1)
    text = language(1_200_000)
    module = trained(text[:1_000_000], args.steps)
    inputs = text[1_000_000:1_014_080].view(110, LENGTH)
    state = {n: t.numpy() for n, t in module.state_dict().items() if n != "out.weight"}
    made = calibrate(module, inputs[:99], seed=0, held=inputs[99:])
    calibration, check = tried_calibration(module, made, inputs[99:])
    measure = partial(perplexity, module, text[-12_900:])
    print(
        f"float {measure(state):.2f}; errors of a fifth of a weight diverge by {check.closed:.4f} "
        f"with feedback ({check.predicted:.4f} predicted) and {check.open:.4f} without"
    )
    network = Network(source=lambda: StateDictWeights(state), calibration=calibration)
    ways = {
        "open": replace(network, calibration=replace(calibration, layers={})),
        "closed, as calibrated": replace(
            network, calibration=replace(calibration, held=None, surprise=None)
        ),
        "closed, checked by the calibration": network,
        "closed, checked with the module": replace(
            network, divergence=output_divergence(module, inputs[99:])
        ),
    }
    for scheme in ("strong-digital", "packed"):
        for name, way in ways.items():
            planned = partial(
                plan_network,
                device=parse_device("pcm-partial-reset"),
                scheme=scheme,
                cells_per_weight=args.cells,
                procedure=Procedure(loop=True),
            )
            with tempfile.TemporaryDirectory() as folder:
                path, notes = Path(folder) / "image.cells", []
                if "checked" in name:
                    notes = write_checked(way, planned, path)[2].notes()
                else:
                    write_network(way, planned(way), path)
                with CellImage(path) as image:
                    stored = dict(Restoration(image, SimulatedChip(image, seed=0)).tensors())
            print(f"{scheme}, {name}: {measure(stored):.2f}", *notes, sep="\n    ", flush=True)


if __name__ == "__main__":
    main()
