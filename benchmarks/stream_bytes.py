"""Write the mask stream to the standard output without end, for a battery of statistical tests to read.

    python benchmarks/stream_bytes.py sequential | dieharder -a -g 200
    python benchmarks/stream_bytes.py steps | dieharder -a -g 200

``sequential`` is one stream from its beginning: the draws of one large array. ``steps`` is the first 64 draws of the
streams of one training step after the other, and ``seeds`` those of one seed after the other: neighbouring counters and
keys, what a generator that mixes too little tells apart worst.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import Any

import numpy as np
from numba import njit

from dropout_service.kernels.codegen.keystream import GROUP_LANES, fill
from dropout_service.kernels.streams import Purpose, stream

GROUPS_A_WRITE = 1 << 12
FIRST_STEP = np.uint64(stream(Purpose.DROPOUT, layer=1))
STEPS = {
    "sequential": (np.uint64(1), np.uint64(0), np.uint64(0)),
    "steps": (np.uint64(0), np.uint64(1), np.uint64(0)),
    "seeds": (np.uint64(0), np.uint64(0), np.uint64(1)),
}
"""By how much the group, the offset and the seed go on from one group of lanes to the next."""


@njit
def fill_by_steps(lanes: Any, first: Any, by: Any, offset: Any) -> None:
    for i in range(lanes.size // GROUP_LANES):
        n = np.uint64(first + i)
        begin = i * GROUP_LANES
        fill(lanes[begin : begin + GROUP_LANES], n * by[0], offset + n * by[1], n * by[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=STEPS)
    by = STEPS[parser.parse_args().what]
    lanes = np.empty(GROUPS_A_WRITE * GROUP_LANES, np.uint64)
    try:
        for first in itertools.count(0, GROUPS_A_WRITE):
            fill_by_steps(lanes, np.uint64(first), by, FIRST_STEP)
            sys.stdout.buffer.write(lanes.data)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has had enough


if __name__ == "__main__":
    main()
