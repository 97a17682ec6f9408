// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat.h"

// splat with k: one point in one layer of a cell. N points, V views, k layers, grid (h, w).
namespace mirage {

constexpr int64_t kMaxLayers = 256;

struct LayerCameras {
  const float *intrinsics, *world2cam;  // (V, 3, 3), (V, 3, 4)
  const float* xyz;                     // (N, 3)
  int64_t layers;
  int h, w;

  MIRAGE_HD int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

struct LayerEntry {  // by its number in (V, k, h, w)
  int64_t view;
  int32_t i, j;
};

MIRAGE_HD LayerEntry layer_entry(const LayerCameras& in, int64_t number) {
  const int64_t cell = number % in.cells();
  return {number / in.cells() / in.layers, static_cast<int32_t>(cell / in.w), static_cast<int32_t>(cell % in.w)};
}

// Squared distance of a point of an entry from the center of its cell.
MIRAGE_HD float layer_distance2(const LayerCameras& in, const LayerEntry& at, int64_t point) {
  const float* p = in.xyz + 3 * point;
  const Projection to = project(load_rigid(in.world2cam + 12 * at.view), load_pinhole(in.intrinsics + 9 * at.view),
                                p[0], p[1], p[2]);
  return to_center(to.u, to.v, at.i, at.j).length2();
}

// The gradient of a point from those of its depth and its squared distance in an entry.
MIRAGE_HD Vec3 layer_backward(const LayerCameras& in, const LayerEntry& at, int64_t point, float grad_depth,
                              float grad_distance2) {
  const float* p = in.xyz + 3 * point;
  const Rigid m = load_rigid(in.world2cam + 12 * at.view);
  const Pinhole k = load_pinhole(in.intrinsics + 9 * at.view);
  const Projection to = project(m, k, p[0], p[1], p[2]);
  const Offset off = to_center(to.u, to.v, at.i, at.j);
  const Vec3 g = project_backward(m, k, p[0], p[1], p[2], (-2.0f * off.x) * grad_distance2,
                                  (-2.0f * off.y) * grad_distance2);
  return {g.x + m.r20 * grad_depth, g.y + m.r21 * grad_depth, g.z + m.r22 * grad_depth};
}

}  // namespace mirage
