// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_sum_isa.h"

#include "cpu/tile.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int kBlock = kPointBlock;

struct alignas(64) PlacedBlock {
  int32_t i[kBlock], j[kBlock];  // i = -2: the point has no corners
  float s[kBlock], t[kBlock], weight[kBlock];
  int count;
  int32_t highest_row, lowest_row;  // rows of the grid that corners may lie in
};

void place(const PlacedPoints& points, int64_t first, PlacedBlock& block) {
  const int64_t left = points.n - first;
  const int count = static_cast<int>(left < kBlock ? left : kBlock), h = points.h, w = points.w;
  const float *u = points.uv + first, *v = u + points.n;
  const float center = points.center;
  for (int k = 0; k < count; ++k) block.weight[k] = points.weight(first + k);
#pragma GCC ivdep
  for (int k = 0; k < count; ++k) {
    const Corners c = corners_at(u[k] - center, v[k] - center, true, h, w);
    block.i[k] = c.i;
    block.j[k] = c.j;
    block.s[k] = c.s;
    block.t[k] = c.t;
  }
  int32_t lowest = h, highest = -2;
  for (int k = 0; k < count; ++k) {
    lowest = block.i[k] > -2 && block.i[k] < lowest ? block.i[k] : lowest;
    highest = block.i[k] > highest ? block.i[k] : highest;
  }
  block.count = count;
  block.lowest_row = lowest;
  block.highest_row = highest > -2 ? highest + 1 : -2;
}

// kStride = C + 1 where it is known, or 0.
template <int kStride>
void add_block(const PlacedBlock& block, const PlacedPoints& points, int first, int last, const SumBuffers& to) {
  const int64_t stride = kStride ? kStride : points.channels + 1;
  const int32_t h = points.h, w = points.w, begin = first * w, end = last * w;
  for (int k = 0; k < block.count; ++k) {
    if (block.i[k] < first - 1 || block.i[k] >= last) continue;
    const uint32_t* __restrict row = to.rows + k * stride;
    each_scale({block.i[k], block.j[k], block.s[k], block.t[k]}, block.weight[k], h, w,
               [&](int, int32_t cell, float scale) {
                 if (cell < begin || cell >= end) return;
                 float* __restrict sum = to.sums + cell * stride;
                 for (int64_t c = 0; c < stride; ++c) sum[c] += scale * bits_float(row[c]);
               });
  }
}

void add_to_rows(const PlacedPoints& points, int first, int last, const SumBuffers& to) {
  const int64_t channels = points.channels, stride = channels + 1;
  const auto add = channels == 3 ? add_block<4> : add_block<0>;
  const uint32_t* features = reinterpret_cast<const uint32_t*>(points.features);
  for (int k = 0; k < kBlock; ++k) to.rows[k * stride + channels] = float_bits(1.0f);
  PlacedBlock block;
  for (int64_t at = 0; at < points.n; at += kBlock) {
    place(points, at, block);
    if (block.highest_row < first || block.lowest_row >= last) continue;
    for (int64_t c = 0; c < channels; ++c) to.planes[c] = features + c * points.n + at;
    transpose<uint32_t>(to.planes, channels, block.count, to.rows, stride);
    add(block, points, first, last, to);
  }
}

}  // namespace

extern const SumKernels sum_kernels{add_to_rows};

}  // namespace MIRAGE_ISA
}  // namespace mirage
