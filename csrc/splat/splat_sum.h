// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat.h"

// splat_sum: N points at known positions of a grid (h, w), C channels. Each adds its features to four cells.
namespace mirage {

struct PlacedPoints {
  const float* uv;        // (2, N)
  const float* features;  // (C, N)
  const float* weights;   // (N,), or null: all are 1
  int64_t n, channels;
  int h, w;
  float center;  // of cell (0, 0), in u and in v

  MIRAGE_HD float weight(int64_t point) const { return weights ? weights[point] : 1.0f; }
  MIRAGE_HD Corners corners(int64_t point) const {
    return corners_at(uv[point] - center, uv[n + point] - center, true, h, w);
  }
};

// Calls visit(corner, cell, scale) for the four taps of a point, cell < 0 for none: what its features count there.
template <class Visit>
MIRAGE_HD void each_scale(const Corners& corners, float weight, int h, int w, const Visit& visit) {
  each_tap(corners, h, w, [&](int corner, const BilinearTap& tap) { visit(corner, tap.cell, tap.weight * weight); });
}

}  // namespace mirage
