"""The coder of classes reads and writes the streams of constriction, to the bit."""

import constriction
import numpy as np
import pytest

from softcell.codes.analog.class_coder import decode_classes, encode_classes
from softcell.errors import FormatError


def some_classes(case):
    """Classes of a random law, from even to one-sided, and their frequencies."""
    rng = np.random.default_rng(case)
    kinds, size = int(rng.integers(2, 10)), int(rng.choice([0, 1, 2, 50, 3000]))
    law = rng.random(kinds) ** rng.integers(1, 30)
    classes = rng.choice(kinds, size, p=law / law.sum()).astype(np.uint8)
    counts = np.bincount(classes, minlength=kinds)
    share = np.maximum(np.rint(counts / max(size, 1) * 65535), 1)
    return classes, share.astype(np.uint16)


def words_of_constriction(classes, frequencies):
    share = frequencies.astype(np.float64) / frequencies.sum(dtype=np.float64)
    model = constriction.stream.model.Categorical(share, perfect=False)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(classes.astype(np.int32), model)
    return coder.get_compressed()


@pytest.mark.parametrize("case", range(60))
def test_the_stream_is_that_of_constriction(case):
    classes, frequencies = some_classes(case)
    words = words_of_constriction(classes, frequencies)
    np.testing.assert_array_equal(encode_classes(classes, frequencies), words)
    np.testing.assert_array_equal(decode_classes(words, len(classes), frequencies), classes)


def test_runs_are_one_stream():
    classes = (np.arange(600_000) % 7 == 0).astype(np.uint8)
    frequencies = np.array([6, 1], np.uint16)
    words = encode_classes(classes, frequencies)
    np.testing.assert_array_equal(words, words_of_constriction(classes, frequencies))
    np.testing.assert_array_equal(decode_classes(words, len(classes), frequencies), classes)


def test_altered_words_are_told():
    classes, frequencies = some_classes(4)
    words = encode_classes(classes, frequencies)
    altered = words.copy()
    altered[len(words) // 2] ^= 1 << 7
    for wrong in (altered, words[1:], words[:-1], np.append(words, np.uint32(0))):
        with pytest.raises(FormatError, match="altered"):
            decode_classes(wrong, len(classes), frequencies)
