// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/camera.h"

// project: N points into V views. The arithmetic is that of common/camera.h.
namespace mirage {

struct ProjectJob {
  const float* xyz;                     // (N, 3), or (V, N, 3)
  const float *world2cam, *intrinsics;  // (V, 3, 4), (V, 3, 3)
  int64_t n, of_view;  // points, and how many of its own each view has: n or 0
  int64_t views;
  int h, w;
  float* uv;        // (V, N, 2)
  float* depth;     // (V, N)
  uint8_t* inside;  // (V, N)

  MIRAGE_HD const float* points_of(int64_t v) const { return xyz + 3 * v * of_view; }
  MIRAGE_HD Rigid pose(int64_t v) const { return load_rigid(world2cam + 12 * v); }
  MIRAGE_HD Pinhole pinhole(int64_t v) const { return load_pinhole(intrinsics + 9 * v); }
};

}  // namespace mirage
