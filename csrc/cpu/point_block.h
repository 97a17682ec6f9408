// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"

// Points (N, 3) taken a block at a time: deinterleaved once, then met by every view while they lie in the first-level
// cache. Everything here is inlined into the files that are compiled once per instruction set.
namespace mirage {

template <int kBlock>
struct alignas(64) PointBlock {
  float x[kBlock], y[kBlock], z[kBlock];
  Box box;
};

template <int kBlock>
MIRAGE_HD void deinterleave(const float* xyz, int count, PointBlock<kBlock>& block) {
#pragma GCC ivdep
  for (int k = 0; k < count; ++k) {
    block.x[k] = xyz[3 * k];
    block.y[k] = xyz[3 * k + 1];
    block.z[k] = xyz[3 * k + 2];
  }
}

// `a < b ? a : b` keeps b where a is NaN, so such a point leaves the box alone.
template <int kBlock>
MIRAGE_HD void bound(const float* coordinate, float* least, float* most) {
  constexpr int kLanes = 16;
  typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
  Lanes lo = Lanes{} + bits_float(0x7f800000u), hi = -lo;
  for (int k = 0; k < kBlock; k += kLanes) {
    Lanes c;
    __builtin_memcpy(&c, coordinate + k, sizeof(c));
    lo = c < lo ? c : lo;
    hi = c > hi ? c : hi;
  }
  float low[kLanes], high[kLanes];
  __builtin_memcpy(low, &lo, sizeof(lo));
  __builtin_memcpy(high, &hi, sizeof(hi));
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) {
      low[l] = low[l + half] < low[l] ? low[l + half] : low[l];
      high[l] = high[l + half] > high[l] ? high[l + half] : high[l];
    }
  }
  *least = low[0];
  *most = high[0];
}

// The `count` points at xyz, of which those that are not valid (or null: all are), and the lanes that are left over,
// become NaN, which no view sees.
template <int kBlock>
MIRAGE_HD void load_block(const float* xyz, const uint8_t* valid, int64_t count, PointBlock<kBlock>& block) {
  const float nan = bits_float(0x7fc00000u);
  if (count >= kBlock) {  // by far the most, and with a fixed count
    deinterleave(xyz, kBlock, block);
  } else {
    deinterleave(xyz, static_cast<int>(count), block);
    for (int k = static_cast<int>(count); k < kBlock; ++k) block.x[k] = block.y[k] = block.z[k] = nan;
  }
  if (valid) {
    const int some = count < kBlock ? static_cast<int>(count) : kBlock;
    for (int k = 0; k < some; ++k) block.x[k] = valid[k] != 0 ? block.x[k] : nan;
  }
  bound<kBlock>(block.x, &block.box.min[0], &block.box.max[0]);
  bound<kBlock>(block.y, &block.box.min[1], &block.box.max[1]);
  bound<kBlock>(block.z, &block.box.min[2], &block.box.max[2]);
}

}  // namespace mirage
