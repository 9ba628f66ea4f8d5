"""Plans as tables on a terminal."""

import io

from rich.console import Console

from softcell.network.corrections import GroupError
from softcell.report.plan_table import groups_table, layers_table, trials_table
from softcell.search import Recipe, Trial, Verdict


def lines(table):
    text = io.StringIO()
    Console(file=text, width=200).print(table)
    return [" ".join(line.split()) for line in text.getvalue().splitlines() if line.strip()]


def layer(tensor, weights, cells, share, loss, zeros=0.25):
    return {
        **{"tensor": tensor, "code": "entropy-coded", "weights": weights, "zeros": zeros},
        **{"bits_per_weight": 1.5, "own_cells_per_weight": 0.0, "cells_per_weight": cells},
        **{"share_of_cells": share, "share_of_loss": loss},
    }


def test_layers_and_their_shares():
    shown = lines(
        layers_table(
            [
                layer("conv.weight", 12_000, 0.5, 0.6, 0.875),
                layer("a.bias", 10, 8.0, 0.3, None),
                layer("b.bias", 30, 4.0, 0.1, None),
                layer("empty", 0, 0.0, 0.0, None),
            ]
        )
    )
    assert shown[0] == "by tensor"
    assert shown[1] == "tensor code weights bits/w cells/w zeros cells loss"
    assert shown[3] == "conv.weight entropy-coded 12,000 1.50 0.50 25 % 60.0 % 87.5 %"
    # What has no loss of its own is put together: 10 x 8 and 30 x 4 cells for 40 weights.
    assert shown[4] == "2 others entropy-coded 40 - 5.00 - 40.0 % -"
    assert len(shown) == 5


def test_layers_of_which_no_loss_is_known():
    shown = lines(
        layers_table([layer("w", 20, 1.0, 0.9, None), layer("count", 1, 64.0, 0.1, None)])
    )
    assert shown[3] == "w entropy-coded 20 1.50 1.00 25 % 90.0 % -"
    assert len(shown) == 4
    assert len(lines(layers_table([]))) == 3


def test_trials():
    trials = [
        Trial(Recipe(), 1.0, 0.9994, Verdict(0.00512, 0.001, 0.0123), 0.034, 1.02),
        Trial(
            Recipe("packed", vector_bits=12, sequential=0.5, verify_reads=4),
            *(1.0, 1.0, Verdict(None, 0.0, float("inf")), None, float("inf"), 1),
        ),
    ]
    shown = lines(trials_table([trial.values() for trial in trials]))
    assert shown[3] == "strong-digital, bits at 0.02 search 0.999 0.51 0.0123 0.0340 1.02"
    assert shown[4].startswith("packed, 12-bit vectors, layer after layer, 4 verifying reads ")
    assert shown[4].endswith(" others 1.000 - - - -")


def test_groups():
    groups = [GroupError(("a", "b"), 0.01, 0.02), GroupError(("c",), 0.5, float("inf"))]
    shown = lines(groups_table([group.values() for group in groups]))
    assert shown[3] == "a 2 0.0100 0.0200"
    assert shown[4] == "c 1 0.5000 -"
