// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"

// Points (N, 3) taken a block at a time: deinterleaved once, then projected into every view while they are in the
// first-level cache. Everything here is inlined into the files that are compiled once per instruction set.
namespace mirage {

constexpr int kPointBlock = 256;
constexpr int kLanes = 16;  // floats in the widest register

struct alignas(64) PointBlock {
  float x[kPointBlock], y[kPointBlock], z[kPointBlock];
  Box box;
};

// Points (count,) into the lanes from lane `at`.
MIRAGE_HD void deinterleave(const float* xyz, int count, PointBlock& block, int at = 0) {
#pragma GCC ivdep
  for (int k = 0; k < count; ++k) {
    block.x[at + k] = xyz[3 * k];
    block.y[at + k] = xyz[3 * k + 1];
    block.z[at + k] = xyz[3 * k + 2];
  }
}

// The first `size` of `left` points into as many lanes from lane `at`. Lanes without a point, and those of points that
// are not valid (or null: all are), become NaN, which no view sees.
MIRAGE_HD void load_points(const float* xyz, const uint8_t* valid, int64_t left, int size, PointBlock& block,
                           int at = 0) {
  const int count = left < size ? static_cast<int>(left) : size;
  const float nan = bits_float(0x7fc00000u);
  if (count == size) {  // by far the highest, and with a fixed count
    deinterleave(xyz, size, block, at);
  } else {
    deinterleave(xyz, count, block, at);
    for (int k = at + count; k < at + size; ++k) block.x[k] = block.y[k] = block.z[k] = nan;
  }
  if (valid)
    for (int k = 0; k < count; ++k) block.x[at + k] = valid[k] != 0 ? block.x[at + k] : nan;
}

// The minimum and the maximum of values (count,); `a < b ? a : b` keeps b where a is NaN, so such a value counts for
// nothing.
MIRAGE_HD void bound_values(const float* values, int count, float* lowest, float* highest) {
  typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
  Lanes lo = Lanes{} + bits_float(0x7f800000u), hi = -lo;
  int k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    Lanes c;
    __builtin_memcpy(&c, values + k, sizeof(c));
    lo = c < lo ? c : lo;
    hi = c > hi ? c : hi;
  }
  float low[kLanes], high[kLanes];
  __builtin_memcpy(low, &lo, sizeof(lo));
  __builtin_memcpy(high, &hi, sizeof(hi));
  for (; k < count; ++k) {
    low[0] = values[k] < low[0] ? values[k] : low[0];
    high[0] = values[k] > high[0] ? values[k] : high[0];
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) {
      low[l] = low[l + half] < low[l] ? low[l + half] : low[l];
      high[l] = high[l + half] > high[l] ? high[l + half] : high[l];
    }
  }
  *lowest = low[0];
  *highest = high[0];
}

// The box of the first `count` lanes.
MIRAGE_HD void bound_points(PointBlock& block, int count = kPointBlock) {
  bound_values(block.x, count, &block.box.min[0], &block.box.max[0]);
  bound_values(block.y, count, &block.box.min[1], &block.box.max[1]);
  bound_values(block.z, count, &block.box.min[2], &block.box.max[2]);
}

}  // namespace mirage
