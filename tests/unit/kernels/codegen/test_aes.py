"""AES-128 against the answers of its standard: in instructions of this CPU, in those of ARM, and in tables."""

# ruff: noqa: ANN001 - parameters are what their decorators list

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import unicorn
from llvmlite import binding, ir
from numba import types
from unicorn import arm64_const as arm

from dropout_service.kernels.codegen.aes import KEYS_BYTES, Arm, Tables, blocks_at_once, cipher, expand_key
from dropout_service.kernels.codegen.intrinsics import emits

_I64 = ir.IntType(64)
_BLOCK = ir.VectorType(_I64, 2)

# Key, plaintext, ciphertext: FIPS 197, appendices B and C.1; then NIST SP 800-38A, F.1.1 and F.5.1 (counters).
ANSWERS = [
    ("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"),
    ("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ("2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a", "3ad77bb40d7a3660a89ecaf32466ef97"),
    ("2b7e151628aed2a6abf7158809cf4f3c", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "ec8cdf7398607cb0f2d21675ea9ea1e4"),
]
LAST_KEY = "d014f9a8c9ee2589e13f0cc8b6630ca6"
"""Of the first key (FIPS 197, appendix A.1)."""


def emit_block(builder, encrypt, address):
    """Emit the encryption of the block at an address, in place; in wider registers beside copies of it."""
    place = builder.inttoptr(address, _BLOCK.as_pointer())
    block = builder.load(place, align=1)
    copies = ir.Constant(ir.VectorType(ir.IntType(32), 2 * encrypt.blocks), [0, 1] * encrypt.blocks)
    state = encrypt.encrypt(builder.shuffle_vector(block, block, copies))
    first = ir.Constant(ir.VectorType(ir.IntType(32), 2), [0, 1])
    builder.store(builder.shuffle_vector(state, state, first), place, align=1)


@emits(types.void(types.int64, types.int64))
def by_instructions(context: Any, builder: Any, keys: Any, address: Any) -> None:
    emit_block(builder, cipher(context, builder, keys), address)


@emits(types.void(types.int64, types.int64))
def by_tables(context: Any, builder: Any, keys: Any, address: Any) -> None:
    emit_block(builder, Tables(context, builder, keys), address)


@numba.njit
def encrypt_by_instructions(keys, address):
    by_instructions(keys, address)


@numba.njit
def encrypt_by_tables(keys, address):
    by_tables(keys, address)


def round_keys(key):
    place = np.full(KEYS_BYTES + 16, 0xA5, np.uint8)
    expand_key(place.ctypes.data, np.uint64(int(key[:16], 16)), np.uint64(int(key[16:], 16)))
    assert (place[KEYS_BYTES:] == 0xA5).all()  # it writes no more than it says
    return place[:KEYS_BYTES]


def test_round_keys_are_those_of_the_standard():
    assert round_keys(ANSWERS[0][0])[-16:].tobytes().hex() == LAST_KEY


@pytest.mark.parametrize(("key", "plain", "expected"), ANSWERS)
@pytest.mark.parametrize("encrypt", [encrypt_by_instructions, encrypt_by_tables])
def test_blocks_are_encrypted_as_the_standard_has_it(encrypt, key, plain, expected):
    keys, block = round_keys(key), np.frombuffer(bytearray.fromhex(plain), np.uint8)
    encrypt(keys.ctypes.data, block.ctypes.data)
    assert block.tobytes().hex() == expected


def test_the_widest_instructions_of_this_cpu_are_used():
    has = binding.get_host_cpu_features()
    widest = 4 if has.get("avx512f") else 2
    assert blocks_at_once() == (widest if has.get("vaes") else int(has.get("aes", False)))
    encrypt_by_instructions(round_keys(LAST_KEY).ctypes.data, np.zeros(16, np.uint8).ctypes.data)
    assembly = "".join(encrypt_by_instructions.inspect_asm().values())
    assert ("aese" in assembly) == bool(has.get("aes"))  # aesenc, or ARM's aese


@pytest.fixture(scope="module")
def code_for_arm():
    """A function ``encrypt(keys, block)`` in the machine code of ARMv8 with its cryptographic extension."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    triple = "aarch64-linux-gnu"
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64, _I64]), "encrypt")
    builder = ir.IRBuilder(function.append_basic_block())
    emit_block(builder, Arm(builder, function.args[0]), function.args[1])
    builder.ret_void()
    machine = binding.Target.from_triple(triple).create_target_machine(features="+neon,+aes", opt=3)
    compiled = binding.ObjectFileRef.from_data(machine.emit_object(binding.parse_assembly(str(module))))
    return next(section.data() for section in compiled.sections() if section.is_text())


@pytest.mark.parametrize(("key", "plain", "expected"), ANSWERS)
def test_arm_encrypts_as_the_standard_has_it(code_for_arm, key, plain, expected):
    code, data, end = 0x10000, 0x20000, 0x1F000
    keys = round_keys(key).tobytes()
    cpu = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    cpu.mem_map(code, 0x10000)
    cpu.mem_map(data, 0x10000)
    cpu.mem_write(code, code_for_arm)
    cpu.mem_write(data, keys + bytes.fromhex(plain))
    cpu.reg_write(arm.UC_ARM64_REG_CPACR_EL1, 0b11 << 20)  # vector registers may be used
    cpu.reg_write(arm.UC_ARM64_REG_X0, data)
    cpu.reg_write(arm.UC_ARM64_REG_X1, data + KEYS_BYTES)
    cpu.reg_write(arm.UC_ARM64_REG_LR, end)
    cpu.emu_start(code, end)
    assert cpu.mem_read(data + KEYS_BYTES, 16).hex() == expected
