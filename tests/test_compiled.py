"""Functions are compiled when one of their module is first called."""

from __future__ import annotations

import subprocess
import sys
from threading import Thread

from softcell.compiled import compiled


@compiled(cache=False)
def _square(x):
    return x * x


@compiled(cache=False)
def _sum_of_squares(count):
    total = 0
    for i in range(count):
        total += _square(i)
    return total


before = _square, _sum_of_squares


def test_first_calls_side_by_side():
    found = []
    each = before[1]  # what another module has imported
    threads = [Thread(target=lambda: found.append(each(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [285] * 4
    assert _square is not before[0]  # the module has the compiled function now
    assert (_square(3), before[0](3)) == (9, 9)


def test_importing_kernels_imports_no_compiler():
    code = (
        "import sys, softcell.streams, softcell.codes.store.bch; sys.exit('numba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
