// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "unproject/unproject_isa.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int32_t kPrefetchDistance = 64;  // pixels
constexpr int kGuesses = 8;

struct Cell {  // the pixels of one cell, sortable, row-major
  const uint32_t* values;
  int32_t pixels, masked, valid;
  uint32_t lowest, highest;  // of the valid ones

  // Subtracting bound + 1 turns the ring of integers so that the values above the bound come first and those up to it
  // last: a plain minimum and maximum, where conditional ones would not vectorize. (One pass for all three costs little
  // more than one for each: adding up a vector's lanes takes as long as reading the values.)
  Split split(uint32_t bound, int32_t rank) const {
    int32_t up_to = 0;
    uint32_t first = 0xffffffffu, last = 0;
    for (int32_t k = 0; k < pixels; ++k) {
      const uint32_t turned = values[k] - (bound + 1u);
      up_to += values[k] <= bound;
      first = turned < first ? turned : first;
      last = turned > last ? turned : last;
    }
    return {up_to, (up_to > rank ? last : first) + (bound + 1u)};
  }
};

// Copies the rows of a cell behind one another first, so that every later loop is one long one.
Cell gather(const DepthMap& map, PixelRange rows, PixelRange columns, uint32_t* scratch) {
  const int32_t n = columns.last - columns.first;
  uint32_t* __restrict values = scratch;
  int32_t pixels = 0, masked = 0;
  for (int32_t r = rows.first; r < rows.last; ++r, pixels += n) {
    const float* depth = map.depth + r * map.width + columns.first;
    __builtin_prefetch(depth + kPrefetchDistance);  // more rows than the hardware follows by itself
    for (int32_t k = 0; k < n; ++k) values[pixels + k] = float_bits(depth[k]);
    if (!map.mask) continue;
    const uint8_t* mask = map.mask + r * map.width + columns.first;
    for (int32_t k = 0; k < n; ++k) {
      values[pixels + k] |= mask[k] != 0 ? kUnusable : 0;
      masked += mask[k] != 0;
    }
  }
  for (int32_t k = 0; k < pixels; ++k) values[k] = sortable(values[k]);
  int32_t valid = 0;
  uint32_t lowest = kUnusable, after_highest = 0;
  for (int32_t k = 0; k < pixels; ++k) {
    const uint32_t value = values[k], after = value + 1u;  // of kUnusable 0
    valid += value <= kLargest;
    lowest = value < lowest ? value : lowest;
    after_highest = after > after_highest ? after : after_highest;
  }
  return {scratch, pixels, masked, valid, lowest, after_highest - 1u};
}

uint32_t lower_median(const Cell& cell) {
  return select_rank<kGuesses>(cell.lowest, cell.highest, (cell.valid - 1) / 2, cell.valid, cell);
}

void pool_row(const DepthMap& map, const PoolRule& rule, const Grid& grid, int64_t i, uint32_t* scratch, float* depth,
              int64_t* pixel) {
  const PixelRange rows = pixels_of(i, grid.h, map.height);
  for (int64_t j = 0; j < grid.w; ++j) {
    const PixelRange columns = pixels_of(j, grid.w, map.width);
    const Cell cell = gather(map, rows, columns, scratch);
    depth[j] = 0.0f;
    if (pixel) pixel[j] = -1;
    if (!enough(cell.valid, cell.masked, cell.pixels, rule.min_valid, rule.max_masked)) continue;
    if (rule.pooling == Pooling::kBilinear) {
      depth[j] = interpolate_depth(map, taps_of(i, grid.h, map.height), taps_of(j, grid.w, map.width));
      continue;
    }
    uint32_t value;
    if (rule.pooling == Pooling::kNearest) {
      const int64_t at = pixel_under_cell(map, grid, i, j);
      value = pixel_at(map, at);
      if (value == kUnusable) continue;
      if (pixel) pixel[j] = at;
    } else {
      value = rule.pooling == Pooling::kMin ? cell.lowest : lower_median(cell);
      if (pixel) {
        int32_t k = 0;
        while (cell.values[k] != value) ++k;
        const int32_t n = columns.last - columns.first;
        pixel[j] = (rows.first + k / n) * map.width + columns.first + k % n;
      }
    }
    depth[j] = bits_float(value);
  }
}

void lift_row(const Rigid& cam2world, const Pinhole& pinhole, int64_t i, int64_t w, const float* depth, float* xyz,
              float* footprint, uint8_t* valid) {
  const Rigid m = cam2world;
  const Pinhole k = pinhole;
#pragma GCC ivdep
  for (int64_t j = 0; j < w; ++j) {
    const LiftedCell cell = lift_cell(m, k, static_cast<int>(i), static_cast<int>(j), depth[j]);
    xyz[3 * j] = cell.x;
    xyz[3 * j + 1] = cell.y;
    xyz[3 * j + 2] = cell.z;
    footprint[j] = cell.footprint;
    valid[j] = cell.valid;
  }
}

}  // namespace

extern const UnprojectKernels unproject_kernels{pool_row, lift_row};

}  // namespace MIRAGE_ISA
}  // namespace mirage
