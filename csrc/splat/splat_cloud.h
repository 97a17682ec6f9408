// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/frustum.h"

namespace mirage {

// The cells that a point covers: the one it lands in; a square or a disc of them; or the four around it.
enum class Shape : int32_t { kPoint, kSquare, kDisc, kCorners };

struct Cloud {
  const float* xyz;      // (N, 3)
  const uint8_t* valid;  // (N,), 0 = ignored; or null: all of them are valid
  const float* extents;  // (N,), each to be scaled (scaled_extent); or null: `extent` for all of them
  float extent;          // world units
  float min_extent;
  float radius;  // cells
  float near;    // only points at a greater depth are in view
  int64_t n;
};

struct SplatPoints : Cloud {
  Shape shape;
  BoxPyramid boxes;  // of all points; or nulls
};

}  // namespace mirage
