"""DropBlock: contiguous squares of a feature map are dropped together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.codegen.compile_cache import warms
from dropout_service.kernels.codegen.keystream import GENERATOR
from dropout_service.kernels.dropout import block_loops
from dropout_service.kernels.runtime import parallel
from dropout_service.kernels.runtime.memory import address
from dropout_service.kernels.variants import elementwise
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.kernels.variants.table import Draw, Pass, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropout_service.kernels.arguments import Scaling

__all__ = ["DROPBLOCK", "seed_rate"]

_GRAIN: Final = 1 << 15
_RANKS: Final = (3, 4)


def seed_rate(rate: float, sizes: tuple[int, ...], block_size: int) -> float:
    """Return gamma, the probability that an element is the first corner of a dropped block.

    rate / b^k * prod(size / (size - b + 1)) over the k axes of a map. Blocks that overlap are counted twice in it, so
    somewhat less than ``rate`` is dropped. At rate 1 all is dropped.

    Parameters
    ----------
    rate
        Probability of dropping.
    sizes
        Sizes of a map.
    block_size
        b, at most any of them.
    """
    if rate == 1:
        return 1.0
    return min(1.0, rate * math.prod(size / (block_size * (size - block_size + 1)) for size in sizes))


@dataclass(frozen=True, slots=True, kw_only=True)
class DropBlockVariant(Variant):
    """Blocks of feature maps, each channel of each sample on its own."""

    algorithm: ClassVar[str] = f"{GENERATOR}/u32"

    def effective_rate(self, rate: float) -> float:
        """Return the rate itself: what is dropped in fact depends on the draw."""
        return self.rate.checked(rate)

    def scale(self, rate: float, scaling: Scaling = "inverted", training: bool = True) -> float | None:  # noqa: FBT001, FBT002 - as in `Variant.scale`
        """Return None: the factor is the mask's size over the number of elements that it keeps."""
        self._checked_scaling(scaling)
        return None if self.rate.checked(rate) and training else 1.0

    def _forward(self, given: Pass) -> None:
        draw = given.draw
        _map_sizes(draw)
        if not given.training or (given.rate == 0 and given.mask is None):
            elementwise.copy(given)
            return
        mask = self._mask(draw) if given.mask is None else given.mask
        kept = np.count_nonzero(mask)
        elementwise.through_mask(given, mask, (mask.size / kept if kept else 0.0, 0.0, 0.0))

    def _backward(self, given: Pass) -> None:
        self._forward(given)  # the map is linear and diagonal: its gradient is the same map

    def _mask(self, draw: Draw) -> NDArray[np.bool_]:
        sizes, block_size = _map_sizes(draw), draw.parameters["block_size"]
        mask = np.ones(draw.shape, np.bool_)
        if mask.size:
            height, width = sizes if len(sizes) > 1 else (1, *sizes)
            block_height = block_size if len(sizes) > 1 else 1
            threshold = round(seed_rate(draw.rate, sizes, block_size) * 2**32)
            arguments = block_loops.DRAW_BLOCKS.pack(
                address(mask), height, width, block_height, block_size, threshold, draw.offset, draw.seed
            )
            grain = -(-_GRAIN // (height * width))
            maps = math.prod(draw.shape[:2])
            parallel.run(block_loops.draw_blocks, arguments, maps, grain=grain, threads=draw.threads)
        return mask


def _map_sizes(draw: Draw) -> tuple[int, ...]:
    """Return the sizes of a map, which a block fits into."""
    shape, block_size = draw.shape, draw.parameters["block_size"]
    if len(shape) not in _RANKS:
        message = f"{draw.pointer.removeprefix('/')} has the axes (n, c, l) or (n, c, h, w), not shape {list(shape)}"
        raise InvalidInputError.at(draw.pointer, message)
    sizes = shape[2:]
    if math.prod(shape) and block_size > min(sizes):
        message = f"block_size is at most the size of a map, {min(sizes)}, not {block_size}"
        raise InvalidInputError.at("/block_size", message)
    return sizes


DROPBLOCK: Final = DropBlockVariant(
    name="dropblock",
    title="DropBlock",
    drops="contiguous blocks of each channel's map",
    constraints="axes (n, c, l) or (n, c, h, w), with l, h and w at least block_size",
    formula="y = x * mask * size(mask) / sum(mask); a block of block_size along each axis of the map is dropped at "
    "each seed, drawn where a block fits with gamma = rate * h * w / (block_size^2 * (h - block_size + 1) * "
    "(w - block_size + 1)); all zeros at rate 1",
    gradient="grad_input = grad_output * mask * size(mask) / sum(mask)",
    paper="Ghiasi, Lin, Le: DropBlock: A regularization method for convolutional networks. NeurIPS 2018, 10750-10760",
    parameters=(Parameter("block_size", "side of the dropped blocks, in elements", "integer", default=7, minimum=1),),
    example_shape=(1, 1, 7, 8),
)


@warms
def _exercise() -> None:
    DROPBLOCK.forward(np.ones((1, 1, 1), np.float32), 0.5, seed=0, block_size=1)
