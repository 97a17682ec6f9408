// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/camera.h"

// unproject: one latent cell (i, j) of a grid (h, w) over a depth map (H, W).
namespace mirage {

enum class Pooling : int64_t { kMedian = 0, kNearest = 1, kMin = 2, kBilinear = 3 };

struct DepthMap {
  const float* depth;   // (H, W)
  const uint8_t* mask;  // (H, W), not 0 = unusable; or null
  int64_t height, width;
};

struct PoolRule {
  Pooling pooling;
  int64_t min_valid;
  double max_masked;
};

struct Grid {
  int64_t h, w;
};

struct DepthMaps {
  const float* depth;   // (B, H, W)
  const uint8_t* mask;  // (B, H, W) or null
  const float *intrinsics, *cam2world;  // (B, 3, 3), (B, 4, 4)
  int64_t height, width;
  Grid grid;
  PoolRule rule;

  MIRAGE_HD int64_t cells() const { return grid.h * grid.w; }  // of one map
  MIRAGE_HD int64_t pixels() const { return height * width; }
  MIRAGE_HD DepthMap map(int64_t b) const {
    const int64_t at = b * pixels();
    return {depth + at, mask ? mask + at : nullptr, height, width};
  }
  MIRAGE_HD Rigid pose(int64_t b) const { return load_rigid(cam2world + 16 * b); }
  MIRAGE_HD Pinhole pinhole(int64_t b) const { return load_pinhole(intrinsics + 9 * b); }
};

struct PixelRange {  // first..last - 1
  int32_t first, last;
};

// Pixel r belongs to cell ((2r + 1) h) / (2H): where its center falls. So cell i owns a run of pixels, which is
// empty for some cells when the grid is finer than the depth map; this is the first of them, and of cell i + 1.
MIRAGE_HD int32_t first_pixel_of(int64_t i, int64_t cells, int64_t pixels) {
  return static_cast<int32_t>(ceil_div(2 * pixels * i - cells, 2 * cells));
}

MIRAGE_HD PixelRange pixels_of(int64_t i, int64_t cells, int64_t pixels) {
  return {first_pixel_of(i, cells, pixels), first_pixel_of(i + 1, cells, pixels)};
}

// The pixel under the center of cell i.
MIRAGE_HD int32_t pixel_under(int64_t i, int64_t cells, int64_t pixels) {
  return static_cast<int32_t>((2 * i + 1) * pixels / (2 * cells));
}

MIRAGE_HD int64_t pixel_under_cell(const DepthMap& map, const Grid& grid, int64_t i, int64_t j) {  // row-major
  return static_cast<int64_t>(pixel_under(i, grid.h, map.height)) * map.width + pixel_under(j, grid.w, map.width);
}

struct Taps {  // two neighboring pixels and the weight of the second
  int32_t first, second;
  float weight;
};

// Bilinear taps at the center of cell i, as torch's interpolate(align_corners=False): position (i + 1/2) H / h - 1/2,
// in exact integers up to the one division. A tap without weight is not read: its depth may be invalid.
MIRAGE_HD Taps taps_of(int64_t i, int64_t cells, int64_t pixels) {
  const int64_t position = (2 * i + 1) * pixels - cells;  // in units of 1 / (2 cells)
  const int64_t before = -ceil_div(-position, 2 * cells);
  const int64_t rest = position - before * 2 * cells;
  const int64_t first = before < 0 ? 0 : before;
  const int64_t after = before + 1 < pixels ? before + 1 : pixels - 1;
  return {static_cast<int32_t>(first), static_cast<int32_t>(rest == 0 ? first : after),
          static_cast<float>(rest) / static_cast<float>(2 * cells)};
}

// Positive floats sort as their bits, and those that are finite are 1 .. kLargest: one unsigned comparison. A pixel
// that may not be used sorts after all others.
constexpr uint32_t kLargest = 0x7f7fffffu;
constexpr uint32_t kUnusable = 0xffffffffu;

MIRAGE_HD uint32_t sortable(uint32_t depth_bits) { return depth_bits - 1u < kLargest ? depth_bits : kUnusable; }

// The depth of a pixel, or kUnusable.
MIRAGE_HD uint32_t pixel_at(const DepthMap& map, int64_t at) {
  return map.mask && map.mask[at] != 0 ? kUnusable : sortable(float_bits(map.depth[at]));
}

// Between four taps; 0 where one of them is unusable.
MIRAGE_HD float interpolate_depth(const DepthMap& map, const Taps& down, const Taps& across) {
  const auto tap = [&](int64_t r, int64_t c) {
    const uint32_t value = pixel_at(map, r * map.width + c);
    return value == kUnusable ? 0.0f : bits_float(value);
  };
  const float d00 = tap(down.first, across.first), d01 = tap(down.first, across.second);
  const float d10 = tap(down.second, across.first), d11 = tap(down.second, across.second);
  const float top = d00 * (1.0f - across.weight) + d01 * across.weight;
  const float bottom = d10 * (1.0f - across.weight) + d11 * across.weight;
  const bool all = (d00 > 0.0f) & (d01 > 0.0f) & (d10 > 0.0f) & (d11 > 0.0f);
  return all ? top * (1.0f - down.weight) + bottom * down.weight : 0.0f;
}

// Calls add(row, column, along_row, along_column) for the four taps, whose gradients are added up in this order. The
// weight of a tap is the product of the last two; a GPU that multiplies them only where it needs them spills nothing.
template <class Add>
MIRAGE_HD void for_each_tap(const Taps& down, const Taps& across, const Add& add) {
  const float left = 1.0f - across.weight, top = 1.0f - down.weight;
  add(down.first, across.first, left, top);
  add(down.first, across.second, across.weight, top);
  add(down.second, across.first, left, down.weight);
  add(down.second, across.second, across.weight, down.weight);
}

MIRAGE_HD bool enough(int64_t valid, int64_t masked, int64_t pixels, int64_t min_valid, double max_masked) {
  return (valid >= min_valid) & (valid > 0) & (static_cast<double>(masked) <= max_masked * static_cast<double>(pixels));
}

// Of values that a bound splits: how many are up to it, and the one next to it on the side that a rank lies on.
struct Split {
  int32_t up_to;
  uint32_t nearest;  // the highest up to the bound where more are than the rank, or else the lowest above it
};

// The value of rank `rank` (from 0) among `count` values, of which lo is the lowest and hi the highest. Each step
// splits the values that are left and moves one end to one of them. The first kGuesses steps split where that rank
// lies if the values are spread evenly, as those of a surface are, and save a third of all steps; the others bisect,
// which ends soon whatever the values are, and takes fewer registers. No sorting, no scratch, exact. The caller
// finds the values, in a CPU loop or a warp: split(bound, rank).
template <int kGuesses, class Values>
MIRAGE_HD uint32_t select_rank(uint32_t lo, uint32_t hi, int32_t rank, int32_t count, const Values& values) {
  int32_t below = 0, up_to = count;  // values < lo, and <= hi
  for (int step = 0; lo < hi; ++step) {
    const uint32_t range = hi - lo;
    const uint32_t half_apart = range / (2u * static_cast<uint32_t>(up_to - below));  // neighbors, if spread evenly
    const uint32_t guess = half_apart * (2u * static_cast<uint32_t>(rank - below) + 1u);
    const uint32_t middle = lo + (step < kGuesses && half_apart > 0 ? guess : range / 2);
    const Split split = values.split(middle, rank);
    if (split.up_to == rank || split.up_to == rank + 1) return split.nearest;
    if (split.up_to > rank) {
      hi = split.nearest;
      up_to = split.up_to;
    } else {
      lo = split.nearest;
      below = split.up_to;
    }
  }
  return lo;
}

struct LiftedCell {
  float x, y, z, footprint;  // world point; width of the cell at its depth
  bool valid;
};

// A depth of 0 marks a cell without one. Invalid cells, and those that overflow, are finite zeros.
MIRAGE_HD LiftedCell lift_cell(const Rigid& cam2world, const Pinhole& k, int i, int j, float depth) {
  const Vec3 c = lift(k, i, j, depth);
  const Vec3 p = transform(cam2world, c.x, c.y, c.z);
  const float footprint = depth * (1.0f / k.fx);
  const bool valid = (depth > 0.0f) & is_finite(p.x) & is_finite(p.y) & is_finite(p.z) & is_finite(footprint);
  return {valid ? p.x : 0.0f, valid ? p.y : 0.0f, valid ? p.z : 0.0f, valid ? footprint : 0.0f, valid};
}

// d loss / d depth of a valid cell: xyz = R (a z, b z, z) + t and footprint = z / fx.
MIRAGE_HD float lift_cell_backward(const Rigid& m, const Pinhole& k, int i, int j, float gx, float gy, float gz,
                                   float gfootprint) {
  const float cx = (m.r00 * gx + m.r10 * gy) + m.r20 * gz;
  const float cy = (m.r01 * gx + m.r11 * gy) + m.r21 * gz;
  const float cz = (m.r02 * gx + m.r12 * gy) + m.r22 * gz;
  const Vec3 ray = lift(k, i, j, 1.0f);
  return ((ray.x * cx + ray.y * cy) + cz) + gfootprint * (1.0f / k.fx);
}

}  // namespace mirage
