"""AES-128, the block cipher of FIPS 197, in whatever instructions the CPU has for it.

A *state* is a vector of 64-bit lanes: one or more blocks of 16 bytes, their bytes in the order of memory. x86 works
four, two or one of them in an instruction, ARM one; a CPU without such instructions looks the rounds up in tables.

References
----------
NIST, FIPS 197: Advanced Encryption Standard (2001, updated 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from llvmlite import ir
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage] - it is public, as its manual has it
from numba.core import cgutils
from numba.extending import register_jitable

from dropout_service.kernels.codegen.compile_cache import jit
from dropout_service.kernels.codegen.intrinsics import cpu_has, emits, pointer_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["KEYS_BYTES", "X86", "Arm", "Cipher", "Tables", "blocks_at_once", "cipher", "expand_key"]

_ROUNDS: Final = 10
KEYS_BYTES: Final = 16 * (_ROUNDS + 1)
"""Size of the round keys."""

_I8: Final = ir.IntType(8)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_BLOCK: Final = ir.VectorType(_I64, 2)
_BYTES: Final = ir.VectorType(_I8, 16)

_words_at = pointer_to(types.uint32)


def _times(a: int, b: int) -> int:
    """Multiply in GF(2^8), modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a = a << 1 ^ 0x11B * (a >> 7)
        b >>= 1
    return product


def _substitutes() -> NDArray[np.uint32]:
    """Return the S-box: the inverse in GF(2^8), of 0 taken as 0, then an affine map of its bits."""
    powers = [1]
    while len(powers) < 255:  # noqa: PLR2004 - 3 generates all elements but 0
        powers.append(_times(powers[-1], 3))
    inverses = {0: 0} | {power: powers[-i] for i, power in enumerate(powers)}
    twice = [inverses[a] << 8 | inverses[a] for a in range(256)]
    return np.array([(b ^ b >> 4 ^ b >> 5 ^ b >> 6 ^ b >> 7 ^ 0x63) & 0xFF for b in twice], np.uint32)


_SBOX: Final = _substitutes()
_COLUMNS: Final = np.array([_times(s, 2) | s << 8 | s << 16 | _times(s, 3) << 24 for s in _SBOX.tolist()], np.uint32)
"""What the first byte of a column adds to it in SubBytes and MixColumns; the others add the same, rotated."""


@register_jitable
def _substituted(word: np.uint32) -> np.uint32:
    low = _SBOX[word & 0xFF] | _SBOX[word >> 8 & 0xFF] << 8
    return np.uint32(low | _SBOX[word >> 16 & 0xFF] << 16 | _SBOX[word >> 24] << 24)


@emits(types.void(types.int64, types.uint64, types.uint64))
def _write_key(_context: Any, builder: Any, place: Any, high: Any, low: Any) -> None:
    for i, half in enumerate((high, low)):
        address = builder.add(place, ir.Constant(_I64, 8 * i))
        builder.store(builder.bswap(half), builder.inttoptr(address, _I64.as_pointer()), align=1)


@jit
def expand_key(place: int, high: int, low: int | np.uint64) -> None:
    """Write the round keys of the key ``high * 2^64 + low``, a big-endian number, to an address: `KEYS_BYTES`."""
    _write_key(place, high, low)
    words = carray(_words_at(place), KEYS_BYTES // 4)
    constant = 1
    for i in range(4, words.size, 4):
        last = words[i - 1]
        words[i] = words[i - 4] ^ _substituted(np.uint32(last >> 8 | last << 24)) ^ np.uint32(constant)
        for j in range(i + 1, i + 4):
            words[j] = words[j - 4] ^ words[j - 1]
        constant = constant << 1 ^ 0x11B * (constant >> 7)


class Cipher(Protocol):
    """AES-128 under one key, for one kind of CPU."""

    blocks: int
    """Blocks of a state."""

    def encrypt(self, state: Any) -> Any:
        """Emit the encryption of ``blocks`` blocks."""
        ...


def blocks_at_once() -> int:
    """Return how many blocks one instruction of the target CPU encrypts; 0 if it has none, and tables are used."""
    if cpu_has("vaes"):
        return 4 if cpu_has("avx512f") else 2
    return 1 if cpu_has("aes") else 0


def cipher(context: Any, builder: Any, place: Any) -> Cipher:
    """Return the cipher that suits the CPU that is compiled for.

    Parameters
    ----------
    context, builder
        Numba's and llvmlite's, which the cipher goes on with.
    place
        Address of the round keys. They are read here, so before a loop that encrypts.
    """
    blocks = blocks_at_once()
    if not blocks:
        return Tables(context, builder, place)
    machine, _, _ = context.codegen().magic_tuple()
    return X86(builder, place, blocks) if machine.startswith("x86") else Arm(builder, place)


def _round_keys(builder: Any, place: Any, blocks: int) -> list[Any]:
    """Emit the round keys, each once for every block of a state."""
    read = [
        builder.load(builder.inttoptr(builder.add(place, ir.Constant(_I64, 16 * i)), _BLOCK.as_pointer()), align=1)
        for i in range(_ROUNDS + 1)
    ]
    which = ir.Constant(ir.VectorType(_I32, 2 * blocks), [0, 1] * blocks)
    return [builder.shuffle_vector(key, ir.Constant(_BLOCK, ir.Undefined), which) for key in read]


def _instruction(builder: Any, name: str, operands: Sequence[Any]) -> Any:
    kind = ir.FunctionType(operands[0].type, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)


class X86:
    """AES-NI, and VAES, which does the same in wider registers."""

    def __init__(self, builder: Any, place: Any, blocks: int) -> None:
        self.blocks = blocks
        self._builder = builder
        self._keys = _round_keys(builder, place, blocks)
        self._suffix = "" if blocks == 1 else f".{128 * blocks}"

    def encrypt(self, state: Any) -> Any:
        """Emit the encryption of ``blocks`` blocks."""
        state = self._builder.xor(state, self._keys[0])
        for key in self._keys[1:_ROUNDS]:
            state = _instruction(self._builder, f"llvm.x86.aesni.aesenc{self._suffix}", (state, key))
        return _instruction(self._builder, f"llvm.x86.aesni.aesenclast{self._suffix}", (state, self._keys[_ROUNDS]))


class Arm:
    """The cryptographic extension of ARMv8: a round adds its key first, and mixes columns apart."""

    def __init__(self, builder: Any, place: Any) -> None:
        self.blocks = 1
        self._builder = builder
        self._keys = [builder.bitcast(key, _BYTES) for key in _round_keys(builder, place, 1)]

    def encrypt(self, state: Any) -> Any:
        """Emit the encryption of a block."""
        state = self._builder.bitcast(state, _BYTES)
        for key in self._keys[: _ROUNDS - 1]:
            state = _instruction(self._builder, "llvm.aarch64.crypto.aese", (state, key))
            state = _instruction(self._builder, "llvm.aarch64.crypto.aesmc", (state,))
        state = _instruction(self._builder, "llvm.aarch64.crypto.aese", (state, self._keys[_ROUNDS - 1]))
        return self._builder.bitcast(self._builder.xor(state, self._keys[_ROUNDS]), _BLOCK)


class Tables:
    """Tables: many times slower than instructions made for it, for CPUs that have none."""

    def __init__(self, context: Any, builder: Any, place: Any) -> None:
        self.blocks = 1
        self._context = context
        self._builder = builder
        self._place = place

    def encrypt(self, state: Any) -> Any:
        """Emit the encryption of a block."""
        pair = types.UniTuple(types.uint64, 2)
        lanes = [self._builder.extract_element(state, ir.Constant(_I32, i)) for i in range(2)]
        done = self._context.compile_internal(
            self._builder, _encrypt_block, pair(types.int64, types.uint64, types.uint64), [self._place, *lanes]
        )
        state = ir.Constant(_BLOCK, ir.Undefined)
        for i in range(2):
            state = self._builder.insert_element(state, self._builder.extract_value(done, i), ir.Constant(_I32, i))
        return state


@register_jitable
def _mixed(a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32) -> np.uint32:
    """Return a column after SubBytes, ShiftRows and MixColumns, from the four columns that its bytes come from."""
    first, second = _COLUMNS[a & 0xFF], _COLUMNS[b >> 8 & 0xFF]
    third, fourth = _COLUMNS[c >> 16 & 0xFF], _COLUMNS[d >> 24]
    mixed = first ^ (second << 8 | second >> 24) ^ (third << 16 | third >> 16) ^ (fourth << 24 | fourth >> 8)
    return np.uint32(mixed)


@register_jitable
def _shifted(a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32) -> np.uint32:
    """Return a column after ShiftRows, from the four columns that its bytes come from."""
    return np.uint32((a & 0xFF) | (b & 0xFF00) | (c & 0xFF0000) | (d & 0xFF000000))


def _encrypt_block(place: int, low: np.uint64, high: np.uint64) -> tuple[np.uint64, np.uint64]:
    keys = carray(_words_at(place), KEYS_BYTES // 4)
    a, b = np.uint32(low) ^ keys[0], np.uint32(low >> np.uint64(32)) ^ keys[1]
    c, d = np.uint32(high) ^ keys[2], np.uint32(high >> np.uint64(32)) ^ keys[3]
    for i in range(4, 4 * _ROUNDS, 4):
        a, b, c, d = (
            _mixed(a, b, c, d) ^ keys[i],
            _mixed(b, c, d, a) ^ keys[i + 1],
            _mixed(c, d, a, b) ^ keys[i + 2],
            _mixed(d, a, b, c) ^ keys[i + 3],
        )
    e, f, g, h = _substituted(a), _substituted(b), _substituted(c), _substituted(d)
    a, b = _shifted(e, f, g, h) ^ keys[4 * _ROUNDS], _shifted(f, g, h, e) ^ keys[4 * _ROUNDS + 1]
    c, d = _shifted(g, h, e, f) ^ keys[4 * _ROUNDS + 2], _shifted(h, e, f, g) ^ keys[4 * _ROUNDS + 3]
    return np.uint64(a) | np.uint64(b) << np.uint64(32), np.uint64(c) | np.uint64(d) << np.uint64(32)
