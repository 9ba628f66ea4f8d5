"""Few levels that tell themselves apart best."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from softcell.channel import Channel, channel_of, constellation, decisions, mutual_information
from softcell.channel.constellation import _search
from softcell.devices import DEVICES, parse_device
from softcell.errors import InputError
from softcell.streams import Stream

# Published with the data: levels, information in bits, symbol error rate.
PARTIAL_RESET = [(4, 2.0, 4e-5), (5, 2.29, None), (6, 2.44, None), (8, 2.565, 0.115)]


@pytest.mark.parametrize(("count", "bits", "error_rate"), PARTIAL_RESET)
def test_partial_reset_cell_carries_what_is_known_to_be_reachable(count, bits, error_rate):
    channel = channel_of(parse_device("pcm-partial-reset"))
    found = constellation(channel, count)
    assert bits - 0.01 <= found.information <= bits + 0.02
    if error_rate is not None:
        assert 0.5 * error_rate < found.symbol_error_rate <= error_rate
    better = constellation(channel, count, criterion="information")
    assert better.information >= max(found.information - 1e-9, bits - 0.001)


def test_symbol_error_rate_is_that_of_simulated_readings():
    device = parse_device("pcm-partial-reset")
    channel = channel_of(device)
    found = constellation(channel, 8)
    decide = decisions(channel.matrix[found.indices])
    sent = np.arange(400_000) % 8
    cells = device.write(found.levels.astype(np.float32)[sent], stream=Stream.of(0, "write"))
    read = device.read(cells, stream=Stream.of(0, "read"))
    wrong = (decide[channel.bins(read)] != sent).mean()
    assert wrong == pytest.approx(found.symbol_error_rate, abs=4.5 * np.sqrt(0.1 / 400_000))


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("criterion", ["error", "information"])
def test_levels_are_distinct_sorted_and_described(name, count, criterion):
    channel = channel_of(parse_device(name), 3600.0)
    found = constellation(channel, count, criterion=criterion)
    assert len(set(found.indices.tolist())) == count
    assert (np.diff(channel.mean[found.indices]) > 0).all()
    assert (found.levels == channel.levels[found.indices]).all()
    rows = channel.matrix[found.indices]
    correct = rows[decisions(rows), np.arange(rows.shape[1])].sum() / count
    assert found.symbol_error_rate == pytest.approx(1 - correct, abs=1e-12)
    assert found.information == pytest.approx(
        mutual_information(rows, np.full(count, 1 / count)), abs=1e-12
    )


def test_few_levels_are_the_best_of_all_choices():
    channel = channel_of(parse_device("pcm-mushroom"), 3e8).only(np.arange(0, 256, 17))
    for count in (2, 3, 4):
        rates, bits = [], []
        for choice in itertools.combinations(range(16), count):
            rows = channel.matrix[list(choice)]
            rates.append(1 - rows.max(axis=0).sum() / count)
            bits.append(mutual_information(rows, np.full(count, 1 / count)))
        assert constellation(channel, count).symbol_error_rate == pytest.approx(min(rates))
        most = constellation(channel, count, criterion="information").information
        assert most == pytest.approx(max(bits))


def test_choice_depends_on_nothing_but_the_law():
    one = channel_of(parse_device("pcm-partial-reset"))
    same = Channel(one.levels.copy(), one.edges.copy(), one.matrix.copy())
    found = constellation(one, 5)
    _search.cache_clear()
    again = constellation(same, 5)
    assert (found.indices == again.indices).all()
    assert found.symbol_error_rate == again.symbol_error_rate


@pytest.mark.parametrize("name", ["ideal", "gaussian:snr_db=80", "gaussian:snr_db=50"])
@pytest.mark.parametrize("count", [2, 4, 5, 8, 16])
def test_levels_without_errors_lie_far_apart(name, count):
    found = constellation(channel_of(parse_device(name)), count)
    assert found.symbol_error_rate < 1e-12
    assert np.diff(found.indices).min() >= 255 // (count - 1) - 1
    assert found.indices[[0, -1]].tolist() == [0, 255]


def test_levels_of_equal_noise_are_evenly_spaced():
    found = constellation(channel_of(parse_device("gaussian:snr_db=20")), 4)
    assert found.indices == pytest.approx([0, 85, 170, 255], abs=1)


def test_as_many_levels_as_there_are_can_be_chosen():
    channel = channel_of(parse_device("gaussian")).only(np.array([0, 60, 255]))
    assert constellation(channel, 3).indices.tolist() == [0, 1, 2]


def test_decisions_take_the_likelier_symbol_and_the_nearest_reached_bin():
    matrix = np.array([[0, 0.6, 0.3, 0, 0, 0, 0.1, 0.0], [0, 0.1, 0.4, 0, 0, 0, 0.5, 0.0]])
    assert decisions(matrix).tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    matrix = np.array([[0, 0, 1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1.0]])
    assert decisions(matrix).tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_counts_and_criteria_out_of_range_are_refused():
    channel = channel_of(parse_device("ideal"))
    for count in (-1, 0, 1, 257):
        with pytest.raises(InputError, match=f"needs 2 to 256 levels, got {count}"):
            constellation(channel, count)
    with pytest.raises(InputError, match="criterion must be error or information, got 'luck'"):
        constellation(channel, 4, criterion="luck")
