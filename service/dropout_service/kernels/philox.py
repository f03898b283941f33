"""Philox4x32-7, eight blocks at a time in vector registers.

The generator is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a block of
four 32-bit words is a function of a 128-bit counter and a 64-bit key, so any part of a stream is drawn on its own.
Seven rounds are the fewest with which the paper reports that no test of BigCrush fails. Here the counter is
``(block, offset)``, 64 bits each, low word first, and the key is the seed.

A *group* is the blocks ``8 g .. 8 g + 7``. Its 32 words are kept as sixteen 64-bit lanes, which is what the products of
the rounds, 32 by 32 bits, leave behind, so nothing is transposed: lane i < 8 is ``w0 << 32 | w1`` of block ``8 g + i``,
and lane 8 + i is ``w2 << 32 | w3`` of the same block. docs/mask-stream.md maps elements to lanes.

The rounds are LLVM vectors rather than a loop because LLVM's loop vectoriser gives up on such a loop now and then, and
silently: the same code is then eight times slower. LLVM lowers the vectors to what the CPU has (AVX-512: one register,
AVX2: two, NEON: four).
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "ALIKE_GROUPS",
    "GENERATOR",
    "GROUP_BLOCKS",
    "GROUP_ELEMENTS",
    "GROUP_LANES",
    "batch",
    "emit_groups",
    "fill_group",
    "splat",
]

_ROUNDS: Final = 7
GENERATOR: Final = f"philox4x32-{_ROUNDS}"
"""The generator, as the versions of the streams name it."""

GROUP_BLOCKS: Final = 8
"""Philox blocks in a group: the 64-bit lanes of the widest vector register."""
GROUP_LANES: Final = 2 * GROUP_BLOCKS
"""64-bit lanes in a group."""
GROUP_ELEMENTS: Final = 4 * GROUP_LANES
"""Mask elements in a group, 16 bits each."""
ALIKE_GROUPS: Final = (1 << 32) // GROUP_BLOCKS
"""From each multiple of so many groups to the next, the upper halves of the block numbers are the same."""

_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS: Final = (0x9E3779B9, 0xBB67AE85)
_WORD: Final = 0xFFFFFFFF

_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_LANES: Final = ir.VectorType(_I64, GROUP_BLOCKS)


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    """Emit a vector with ``scalar`` in every lane."""
    vector = ir.VectorType(scalar.type, lanes)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def emit_groups(
    builder: Any, group: Any, offset: Any, seed: Any, *, count: int = 1, alike: Any = None
) -> list[list[Any]]:
    """Emit ``count`` consecutive groups, each as two vectors of eight 64-bit lanes.

    Parameters
    ----------
    builder
        llvmlite's IR builder.
    group
        The first group; like ``offset`` and ``seed`` an unsigned 64-bit value.
    offset, seed
        The address of the stream.
    count
        Groups worked at the same time. One round waits for the other, so several groups side by side keep the
        multipliers busy; see `batch`.
    alike
        A group between whose multiple of `ALIKE_GROUPS` and the next all groups of a loop lie: a product of the second
        round is then the same for all of them, and LLVM takes it out of the loop.
    """
    width = GROUP_BLOCKS * count

    def constant(value: int) -> Any:
        return ir.Constant(ir.VectorType(_I64, width), [value] * width)

    word, half = constant(_WORD), constant(32)
    first = builder.mul(group, ir.Constant(_I64, GROUP_BLOCKS))
    block = builder.add(splat(builder, first, width), ir.Constant(ir.VectorType(_I64, width), list(range(width))))
    stream, key = splat(builder, offset, width), splat(builder, seed, width)
    # Only the low 32 bits of a lane are read by a product, so c1 and c3 may keep the high half of the product they are.
    c0, c1 = block, builder.lshr(block, half) if alike is None else splat(builder, _upper_half(builder, alike), width)
    c2, c3 = stream, builder.lshr(stream, half)
    keys = (builder.and_(key, word), builder.lshr(key, half))

    def round_keys(step: int) -> list[Any]:
        return [
            builder.and_(builder.add(one, constant(step * weyl & _WORD)), word)
            for one, weyl in zip(keys, _KEY_STEPS, strict=True)
        ]

    def products() -> list[Any]:
        return [
            builder.mul(builder.and_(counter, word), constant(multiplier))
            for counter, multiplier in zip((c0, c2), _MULTIPLIERS, strict=True)
        ]

    for step in range(_ROUNDS - 1):
        k0, k1 = round_keys(step)
        p0, p1 = products()
        c0 = builder.xor(builder.xor(builder.lshr(p1, half), c1), k0)
        c2 = builder.xor(builder.xor(builder.lshr(p0, half), c3), k1)
        c1, c3 = p1, p0
    k0, k1 = round_keys(_ROUNDS - 1)
    p0, p1 = products()
    # w0 = high(p1) ^ c1 ^ k0 belongs in the upper half of a lane and w1 = low(p1) in the lower: p1 has both in place.
    upper = builder.xor(builder.xor(p1, _raised(builder, c1)), builder.shl(k0, half))
    lower = builder.xor(builder.xor(p0, _raised(builder, c3)), builder.shl(k1, half))
    return [[_part(builder, lanes, i) for lanes in (upper, lower)] for i in range(count)]


def _upper_half(builder: Any, group: Any) -> Any:
    """Emit the upper half of a group's block numbers."""
    return builder.udiv(group, ir.Constant(_I64, ALIKE_GROUPS))


def _raised(builder: Any, lanes: Any) -> Any:
    """Emit the lower half of each lane as its upper one.

    A shift would do as well, but of a product LLVM makes that a product of 64 by 64 bits, which takes longer.
    """
    words = ir.VectorType(_I32, 2 * lanes.type.count)
    zeros = ir.Constant(words, [0] * words.count)
    which = [word for lane in range(lanes.type.count) for word in (words.count, 2 * lane)]
    moved = builder.shuffle_vector(builder.bitcast(lanes, words), zeros, ir.Constant(words, which))
    return builder.bitcast(moved, lanes.type)


def _part(builder: Any, lanes: Any, index: int) -> Any:
    """Emit the eight lanes of one group of several."""
    chosen = list(range(index * GROUP_BLOCKS, (index + 1) * GROUP_BLOCKS))
    which = ir.Constant(ir.VectorType(_I32, GROUP_BLOCKS), chosen)
    return builder.shuffle_vector(lanes, ir.Constant(lanes.type, ir.Undefined), which)


def batch(context: Any) -> int:
    """Return how many groups to emit side by side for the CPU that ``context`` compiles for.

    Two chains of dependent products keep the multipliers busier than one, and than four, which do not fit into the 32
    registers of AVX-512; other x86 processors have 16.
    """
    _, _, features = context.codegen().magic_tuple()
    return 2 if "+avx512f" in features else 1


@intrinsic  # type: ignore[misc] - Numba has no types
def fill_group(typing_context: Any, lanes: Any, group: Any, offset: Any, seed: Any) -> Any:  # noqa: ARG001 - Numba's protocol
    """Write the 16 lanes of one group into a contiguous uint64 array; for use inside a `jit` kernel.

    ``lanes.view(np.uint16)`` then holds the 16-bit draws of mask elements ``64 group .. 64 group + 63`` in order (on a
    little-endian machine), to be compared with `dropout.threshold`: an element is dropped where draw < threshold.
    ``group``, ``offset`` and ``seed`` are np.uint64.
    """
    signature = types.void(lanes, types.uint64, types.uint64, types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, *address = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        for i, vector in enumerate(emit_groups(builder, *address)[0]):
            place = builder.gep(data, [ir.Constant(_I64, i * GROUP_BLOCKS)])
            builder.store(vector, builder.bitcast(place, _LANES.as_pointer()), align=8)
        return context.get_dummy_value()

    return signature, generate
