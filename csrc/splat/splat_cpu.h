// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/tile.h"
#include "splat/splat.h"
#include "splat/splat_isa.h"
#include "torch/views.h"

// Used by several files. N points, V views, grid (h, w).
namespace mirage {

constexpr int64_t kMinPointsPerThread = 8192;  // points in views that are worth a second thread
constexpr int64_t kGroup = 64;  // cells moved together: all their rows are fetched before the first is needed

// The z-buffers (V, h w) of several parts of the points, to be joined by their minimum.
struct Keys {
  uint64_t* first;
  std::unique_ptr<uint64_t[]> others;  // (parts - 1, V, h w)
  int64_t parts, size;
};

// Fills `first` (V, h w), and others besides where the points are split between threads.
Keys fill_keys(Scatter scatter, const SplatPoints& points, const std::vector<View>& views, int h, int w,
               uint64_t* first);

// Joins cells [at, at + n) of all views and parts into the first part's.
void join_keys(const Keys& keys, int64_t at, int64_t n);

// How many cells beside the grid a point may lie and still be drawn in it.
inline float margin_of(const SplatPoints& points) {
  if (!points.extents || points.shape != Shape::kDisc) return points.radius;
  float largest = 0.0f;
  for (int64_t i = 0; i < points.n; ++i) largest = std::max(largest, limited_radius(points.extents[i], points.radius));
  return largest;
}

// Whether an output in (.., stride) order is larger than a core's cache, and can be written past the caches. Tiles of 2-byte
// words write eight lines at a time, more than are combined on the way: that took three times as long.
inline bool is_worth_streaming(const Tensor& out, int64_t stride) {
  constexpr int64_t kStreamFrom = 1 << 20;  // bytes
  if (out.element_size() != 4 || out.numel() * 4 < kStreamFrom) return false;
  return can_stream(static_cast<const uint32_t*>(out.const_data_ptr()), stride);
}

inline void guard_index(const Tensor& index, int64_t num_points) {
  const int64_t* at = data<int64_t>(index);
  const bool ok = std::all_of(at, at + index.numel(), [&](int64_t i) { return i < num_points; });
  guard(ok, "splat: index names a point that does not exist");
}

}  // namespace mirage
