"""Gray labels: neighbours differ in one bit, and labels and indices belong together."""

from __future__ import annotations

import numpy as np
from numba import njit

from softcell.channel import gray_index, gray_label

INDICES = np.arange(256, dtype=np.uint8)


def test_neighbours_differ_in_one_bit_and_no_label_occurs_twice():
    labels = gray_label(INDICES)
    assert labels.dtype == np.uint8
    assert (np.bitwise_count(labels[1:] ^ labels[:-1]) == 1).all()
    assert sorted(labels.tolist()) == list(range(256))
    assert labels[:8].tolist() == [0, 1, 3, 2, 6, 7, 5, 4]


def test_an_index_comes_back_from_its_label_in_every_type():
    assert (gray_index(gray_label(INDICES)) == INDICES).all()
    assert (gray_index(gray_label(INDICES.astype(np.int64))) == INDICES).all()
    assert [gray_index(gray_label(index)) for index in range(256)] == list(range(256))


def test_compiled_code_has_the_same_labels():
    @njit
    def there_and_back(index):
        label = gray_label(index)
        return label, gray_index(label)

    assert [there_and_back(index) for index in range(256)] == [
        (gray_label(index), index) for index in range(256)
    ]
