"""Integer matrix products for the ascent: 8-bit factors, sums that never overflow.

With AVX2 one instruction (vpmaddubsw) multiplies 32 pairs of an unsigned and a signed byte, where a float32 one
multiplies 8. Its 16-bit sums hold `run` of them, if the factors are small enough: 2 * run * a * b <= 32767
for the largest factors a and b. Only then are they widened to 32 bits. With VNNI one (vpdpbusd) multiplies 64
and adds to 32 bits by itself, so that factors use their whole byte. Either way sums are exact, and the result
does not depend on their order. The compiler does not find these forms in a plain loop: hence the intrinsics.
"""

# numba and llvmlite have few types.
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
# mypy: disable-error-code="attr-defined,call-arg,import-untyped"

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding
import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

ROWS, COLUMNS = 4, 16  # of a tile: eight registers of sums, the most that does not spill
BLOCK = 64  # rows taken through both layers together; what they touch stays in the second-level cache
AVX2, VNNI = (llvmlite.binding.get_host_cpu_features().get(name, False) for name in ("avx2", "avx512vnni"))
FORWARD_LEVELS = 255 if VNNI else 46  # activations are rounded to 0..FORWARD_LEVELS
BACKWARD_LEVELS = 127 if VNNI else 23  # gradients to as many below and above 0, stored so much higher
INT16_MAX = 32767

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES, _SHORTS, _INTS = ir.VectorType(_I8, 32), ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)
_FLOATS, _EIGHT_BYTES = ir.VectorType(ir.FloatType(), 8), ir.VectorType(_I8, 8)


def available() -> str:
    """The instructions that are used, "vnni" or "avx2"; "" where the processor, or numba's settings, allow neither."""
    config = numba.config
    if config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES:
        return ""
    return "vnni" if VNNI else "avx2" if AVX2 else ""


class Packed(NamedTuple):
    """A matrix (k, n) as the right factor of a product.

    panels: (n / 16, k / 4, 64) int8, of a panel's 16 columns four rows at a time; shift: (n,) int32, what a
    left factor stored too high adds to the sums; scale: (n,) float32, a column's unit; run: see above.
    """

    panels: npt.NDArray[np.int8]
    shift: npt.NDArray[np.int32]
    scale: npt.NDArray[np.float32]
    run: int


def pack(weight: Tensor, largest: int, offset: int) -> Packed:
    """Round `weight` (k, n) to bytes, column by column, for left factors 0..largest stored `offset` high."""
    run = next(r for r in (4, 2) if INT16_MAX // (2 * r * largest) >= 22)  # 8 would be hardly faster, and coarser
    levels = most_levels(run, largest)
    k, n = weight.shape
    panels = np.zeros((_up(n) // COLUMNS, _up(k) // 4, 4 * COLUMNS), np.int8)
    shift, scale = np.zeros(_up(n), np.int32), np.zeros(_up(n), np.float32)
    _pack(weight.t().contiguous().numpy(), levels, offset, panels, shift, scale)
    return Packed(panels, shift, scale, run)


def most_levels(run: int, largest: int) -> int:
    """The right factor's largest magnitude for left ones up to `largest`."""
    return 127 if VNNI else min(127, INT16_MAX // (2 * run * largest))


def _up(size: int) -> int:
    """The multiple of 16 that holds `size`."""
    return -(-size // 16) * 16


@numba.njit(cache=True, nogil=True)
def _largest(row: Any) -> Any:
    """Bits of the largest magnitude in a row of float32; without the sign, bits compare as numbers do."""
    bits = row.view(np.int32)
    largest = np.int32(0)
    for j in range(len(bits)):
        largest = max(largest, bits[j] & np.int32(0x7FFFFFFF))
    return largest


@numba.njit(cache=True, nogil=True)
def _pack(columns: Any, levels: Any, offset: Any, panels: Any, shift: Any, scale: Any) -> None:
    """Fill what `Packed` describes from `columns` (n, k), the largest number of each becoming `levels`."""
    n, k = columns.shape
    bits = scale.view(np.int32)
    for j in range(n):
        bits[j] = _largest(columns[j])
        unit = np.float32(levels) / scale[j] if scale[j] > np.float32(1e-30) else np.float32(0)
        scale[j] /= np.float32(levels)
        total = np.int32(0)
        panel = panels[j // 16]
        column = 4 * (j % 16)
        for i in range(k):
            x = np.int32(np.floor(columns[j, i] * unit + np.float32(0.5)))
            panel[i // 4, column + i % 4] = x
            total += x
        shift[j] = offset * total


def _sums(builder: Any, a: Any, stride: Any, b: Any, groups: Any, run: Any) -> list[Any]:
    """Emit a tile's sums: four rows of bytes at `a`, `stride` apart, times the panel at `b`.

    Returns eight vectors of eight int32, two for each row.
    """
    rows = [builder.add(a, builder.mul(stride, _I64(r))) for r in range(ROWS)]
    return _sums_of_fours(builder, rows, b, groups) if VNNI else _sums_of_pairs(builder, rows, b, groups, run)


def _sums_of_fours(builder: Any, rows: list[Any], b: Any, groups: Any) -> list[Any]:
    """Where the processor has VNNI: one instruction adds the products of four numbers, 16 columns wide, to int32."""
    wide = ir.VectorType(_I32, 16)
    declare = builder.module.declare_intrinsic
    multiply = declare("llvm.x86.avx512.vpdpbusd.512", fnty=ir.FunctionType(wide, [wide, wide, wide]))
    totals = [[cgutils.alloca_once_value(builder, _splat(wide, 0)) for _ in rows] for _ in range(2)]

    def accumulate(group: Any, totals: list[Any]) -> None:
        panel = _load(builder, b, wide, builder.mul(group, _I64(64)))
        for row, total in zip(rows, totals, strict=True):
            four = _load(builder, row, _I32, builder.mul(group, _I64(4)))
            builder.store(builder.call(multiply, [builder.load(total), _broadcast(builder, four, wide), panel]), total)

    with cgutils.for_range(builder, builder.udiv(groups, _I64(2))) as loop:
        group = builder.mul(loop.index, _I64(2))
        accumulate(group, totals[0])
        accumulate(builder.add(group, _I64(1)), totals[1])
    sums = [builder.add(builder.load(x), builder.load(y)) for x, y in zip(*totals, strict=True)]
    half = [ir.Constant(_INTS, list(range(8 * v, 8 * v + 8))) for v in range(2)]
    return [builder.shuffle_vector(x, _splat(wide, 0), half[v]) for x in sums for v in range(2)]


def _sums_of_pairs(builder: Any, rows: list[Any], b: Any, groups: Any, run: Any) -> list[Any]:
    declare = builder.module.declare_intrinsic
    multiply = declare("llvm.x86.avx2.pmadd.ub.sw", fnty=ir.FunctionType(_SHORTS, [_BYTES, _BYTES]))
    widen = declare("llvm.x86.avx2.pmadd.wd", fnty=ir.FunctionType(_INTS, [_SHORTS, _SHORTS]))
    totals = [cgutils.alloca_once(builder, _INTS) for _ in range(2 * ROWS)]
    partial = [cgutils.alloca_once(builder, _SHORTS) for _ in totals]
    for total in totals:
        builder.store(_splat(_INTS, 0), total)

    def accumulate(group: Any) -> None:
        """Add the products of four numbers of each row."""
        b_vectors = [_load(builder, b, _BYTES, builder.mul(group, _I64(64)), 32 * v) for v in range(2)]
        for r in range(ROWS):
            four = _load(builder, rows[r], _I32, builder.mul(group, _I64(4)))
            lanes = builder.bitcast(_broadcast(builder, four, _INTS), _BYTES)
            for v in range(2):
                cell = partial[2 * r + v]
                product = builder.call(multiply, [lanes, b_vectors[v]])
                builder.store(builder.add(builder.load(cell), product), cell)

    runs = builder.udiv(builder.add(groups, builder.sub(run, _I64(1))), run)
    with cgutils.for_range(builder, runs) as outer:
        first = builder.mul(outer.index, run)
        left = builder.sub(groups, first)
        length = builder.select(builder.icmp_unsigned("<", left, run), left, run)
        for cell in partial:
            builder.store(_splat(_SHORTS, 0), cell)
        with cgutils.for_range(builder, builder.udiv(length, _I64(2))) as inner:
            group = builder.add(first, builder.mul(inner.index, _I64(2)))
            accumulate(group)
            accumulate(builder.add(group, _I64(1)))
        for cell, total in zip(partial, totals, strict=True):
            wide = builder.call(widen, [builder.load(cell), _splat(_SHORTS, 1)])
            builder.store(builder.add(builder.load(total), wide), total)
    return [builder.load(total) for total in totals]


def _splat(kind: Any, x: int) -> Any:
    return ir.Constant(kind, [x] * kind.count)


def _broadcast(builder: Any, x: Any, kind: Any) -> Any:
    lane = builder.insert_element(ir.Constant(kind, ir.Undefined), x, _I32(0))
    return builder.shuffle_vector(lane, ir.Constant(kind, ir.Undefined), _splat(ir.VectorType(_I32, kind.count), 0))


def _pointer(builder: Any, address: Any, kind: Any, *offsets: Any) -> Any:
    """Pointer to a `kind` at an address and offsets in bytes, each a value or an int."""
    for offset in offsets:
        address = builder.add(address, _I64(offset) if isinstance(offset, int) else offset)
    return builder.inttoptr(address, kind.as_pointer())


def _load(builder: Any, address: Any, kind: Any, *offsets: Any) -> Any:
    return builder.load(_pointer(builder, address, kind, *offsets), align=1)


@intrinsic
def _tile_to_float(
    _typing: Any,
    a: Any,
    stride: Any,
    b: Any,
    groups: Any,
    run: Any,
    shift: Any,
    scale: Any,
    out: Any,
    width: Any,
) -> Any:
    """Four rows of 16 float32 at `out`, `width` bytes apart: (sums - shift) * scale."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *factors, shift, scale, out, width = arguments
        for i, sums in enumerate(_sums(builder, *factors)):
            row, half = divmod(i, 2)
            true = builder.sub(sums, _load(builder, shift, _INTS, 32 * half))
            y = builder.fmul(builder.sitofp(true, _FLOATS), _load(builder, scale, _FLOATS, 32 * half))
            into = _pointer(builder, out, _FLOATS, builder.mul(width, _I64(row)), 32 * half)
            builder.store(y, into, align=1)
        return context.get_dummy_value()

    return numba.types.void(a, stride, b, groups, run, shift, scale, out, width), emit


@intrinsic
def _tile_to_step(
    _typing: Any, a: Any, stride: Any, b: Any, groups: Any, run: Any, shift: Any, delta: Any, width: Any,
    step: Any, low: Any, high: Any,
) -> Any:  # fmt: skip
    """Move four rows of 16 bytes at `delta`, `width` apart: by step * sign(sums - shift), inside bounds."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *factors, shift, delta, width, step, low, high = arguments
        up = _broadcast(builder, builder.trunc(step, _I32), _INTS)
        down = builder.neg(up)
        for i, sums in enumerate(_sums(builder, *factors)):
            row, half = divmod(i, 2)
            level = _load(builder, shift, _INTS, 32 * half)
            above, below = (builder.icmp_signed(order, sums, level) for order in (">", "<"))
            still = builder.select(below, down, _splat(_INTS, 0))
            cells = _pointer(builder, delta, _EIGHT_BYTES, builder.mul(width, _I64(row)), 8 * half)
            x = builder.zext(builder.load(cells, align=1), _INTS)
            x = builder.add(x, builder.select(above, up, still))
            for bound, order in ((low, "<"), (high, ">")):
                limit = builder.zext(_load(builder, bound, _EIGHT_BYTES, 8 * half), _INTS)
                x = builder.select(builder.icmp_signed(order, x, limit), limit, x)
            builder.store(builder.trunc(x, _EIGHT_BYTES), cells, align=1)
        return context.get_dummy_value()

    kinds = (a, stride, b, groups, run, shift, delta, width, step, low, high)
    return numba.types.void(*kinds), emit


@numba.njit(cache=True, nogil=True)
def _multiply(a: Any, first: Any, last: Any, b: Any, out: Any) -> None:
    """out[: last - first] (float32) = a[first:last] times b, in b's units, the shift taken off."""
    panels, groups = b.panels.shape[0], b.panels.shape[1]
    for p in range(panels):
        for i in range(first, last, ROWS):
            _tile_to_float(
                a.ctypes.data + i * a.strides[0], a.strides[0],
                b.panels.ctypes.data + p * b.panels.strides[0], groups, b.run,
                b.shift.ctypes.data + 64 * p, b.scale.ctypes.data + 64 * p,
                out.ctypes.data + (i - first) * out.strides[0] + 64 * p, out.strides[0],
            )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _multiply_and_step(a: Any, b: Any, delta: Any, first: Any, last: Any, step: Any, low: Any, high: Any) -> None:
    """Move delta[first:last] by `step` along the signs of a[: last - first] times b, inside low and high."""
    panels, groups = b.panels.shape[0], b.panels.shape[1]
    for p in range(panels):
        for i in range(first, last, ROWS):
            _tile_to_step(
                a.ctypes.data + (i - first) * a.strides[0], a.strides[0],
                b.panels.ctypes.data + p * b.panels.strides[0], groups, b.run,
                b.shift.ctypes.data + 64 * p,
                delta.ctypes.data + i * delta.strides[0] + 16 * p, delta.strides[0],
                step, low.ctypes.data + 16 * p, high.ctypes.data + 16 * p,
            )  # fmt: skip


@numba.njit(cache=True, nogil=True, fastmath=True)
def _activate(z: Any, base: Any, factor: Any, out: Any) -> None:
    """out = relu(factor * z + base) of one row."""
    for j in range(len(out)):
        x = factor * z[j] + base[j]
        out[j] = x if x > 0 else np.float32(0)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _combine(factors: Any, rows: Any, out: Any) -> None:
    """out = the sum of factor times row, without the factors that vanish beside a largest one of 1."""
    out[:] = 0
    for i in range(len(factors)):
        factor, row = factors[i], rows[i]
        if abs(factor) > np.float32(1e-9):
            for j in range(len(out)):
                out[j] += factor * row[j]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _mask(z: Any, active: Any) -> None:
    """z = 0 where the unit was not active, one row."""
    for j in range(len(active)):
        z[j] = z[j] if active[j] > 0 else np.float32(0)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _round(x: Any, largest: Any, levels: Any, offset: Any, out: Any) -> None:
    """One row to bytes, `largest` becoming `levels`, stored `offset` high; a row of nothing to nothing."""
    unit = np.float32(levels) / largest if largest > np.float32(1e-30) else np.float32(0)
    high = np.float32(offset) + np.float32(0.5)
    for j in range(len(x)):
        out[j] = np.int32(x[j] * unit + high)


@numba.njit(cache=True, nogil=True)
def forward(delta: Any, moved: Any, first: Any, second: Any, w1: Any, w2: Any, h1: Any, h2: Any) -> None:
    """Both hidden layers' activations (n, h) at states + delta.

    delta: (n4, k) uint8, with n4 the multiple of four that holds n; moved: False where delta is 0;
    first, second: (n, h), what is added to the layers' products. Writes h1 and h2 (n, h).
    """
    n = len(h1)
    width = 16 * len(w2.panels)
    z = np.zeros((BLOCK, width), np.float32)
    a = np.zeros((BLOCK, width), np.uint8)
    largest = np.zeros(BLOCK, np.float32)
    bits = largest.view(np.int32)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        up = (size + ROWS - 1) // ROWS * ROWS
        if moved:
            _multiply(delta, start, start + up, w1, z)
        for i in range(size):
            _activate(z[i], first[start + i], np.float32(1), h1[start + i])
            bits[i] = _largest(h1[start + i])
            _round(h1[start + i], largest[i], FORWARD_LEVELS, 0, a[i])
        _multiply(a, 0, up, w2, z)
        for i in range(size):
            _activate(z[i], second[start + i], largest[i] / np.float32(FORWARD_LEVELS), h2[start + i])
        if not moved:
            z[:] = 0


@numba.njit(cache=True, nogil=True)
def backward(
    gradient: Any, h1: Any, h2: Any, w3: Any, w2: Any, w1: Any, delta: Any, step: Any, low: Any, high: Any,
) -> None:  # fmt: skip
    """Move delta by `step` along the sign of its gradient, and keep it between low and high.

    gradient: (n, a) by the logits; w3: (a, h); delta: (n4, k) uint8; low, high: (k,) uint8. A row's gradient
    is scaled as it likes, for its sign is all that counts.
    """
    n, h = h1.shape
    width = 16 * len(w2.panels)
    z = np.zeros((BLOCK, width), np.float32)
    a = np.zeros((BLOCK, width), np.uint8)
    largest = np.zeros(BLOCK, np.float32)
    bits = largest.view(np.int32)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        up = (size + ROWS - 1) // ROWS * ROWS
        for i in range(size):
            by_h2 = z[i, :h]
            _combine(gradient[start + i], w3, by_h2)
            _mask(by_h2, h2[start + i])
            bits[i] = _largest(by_h2)
            _round(by_h2, largest[i], BACKWARD_LEVELS, BACKWARD_LEVELS, a[i])
        _multiply(a, 0, up, w2, z)
        for i in range(size):
            _mask(z[i], h1[start + i])
            bits[i] = _largest(z[i, :h])
            _round(z[i, :h], largest[i], BACKWARD_LEVELS, BACKWARD_LEVELS, a[i])
        _multiply_and_step(a, w1, delta, start, start + up, step, low, high)
