// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat.h"

namespace mirage {

enum class Drawn : int32_t { kPoint, kSquare, kDisc, kCorners };

struct Cloud {
  const float* xyz;      // (N, 3)
  const uint8_t* valid;  // (N,), 0 = not to be drawn; or null: all of them
  const float* extents;  // (N,), each to be scaled (scaled_extent); or null: `extent` for all of them
  float extent;          // world units
  float least_extent;
  float radius;  // cells
  int64_t n;
};

}  // namespace mirage
