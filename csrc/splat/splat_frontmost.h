// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/camera.h"

// frontmost: which of N points are the nearest of their cell, in V views with a grid (h, w).
namespace mirage {

struct FrontmostJob {
  const float* xyz;                     // (N, 3)
  const uint8_t* valid;                 // (N,), 0 = ignored; or null
  const float *world2cam, *intrinsics;  // (V, 3, 4), (V, 3, 3)
  int64_t n, views;
  int h, w;
  float near, far;  // depths in view: more than near, less than far
  float tolerance;
  float border;  // beyond the left and the upper side of the grid: -1 where coordinates are cut off toward zero, else 0
  uint8_t* out;  // (V, N)

  MIRAGE_HD Rigid pose(int64_t v) const { return load_rigid(world2cam + 12 * v); }
  MIRAGE_HD Pinhole pinhole(int64_t v) const { return load_pinhole(intrinsics + 9 * v); }
  MIRAGE_HD int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

struct DepthRange {
  float near, far;
};

// The cell of a point, or -1 outside. The conversion cuts coordinates off toward zero.
MIRAGE_HD int32_t front_cell(const Projection& p, int h, int w, DepthRange range, float border) {
  const bool right_of = (p.u >= 0.0f) | (p.u > border), below = (p.v >= 0.0f) | (p.v > border);
  const bool in = (p.z > range.near) & (p.z < range.far) & right_of & (p.u < static_cast<float>(w)) & below &
                  (p.v < static_cast<float>(h));
  const float u = in ? p.u : 0.0f;
  const float v = in ? p.v : 0.0f;
  const int32_t cell = static_cast<int32_t>(v) * w + static_cast<int32_t>(u);
  return in ? cell : -1;
}

// Depths in view are positive, so that their bits have their order.
MIRAGE_HD bool is_frontmost(float depth, uint32_t nearest, float tolerance) {
  return depth <= bits_float(nearest) + tolerance;
}

}  // namespace mirage
