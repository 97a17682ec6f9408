// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/hostdev.h"

// splat_surface: two renderings of the same views become one. V views, grid (h, w).
namespace mirage {

// Where the second one is shown: where the first is a hole or lies farther, or in its holes only.
struct SurfaceRule {
  float beyond;  // 1 + the relative difference of depths of one surface
  int32_t holes_only;

  MIRAGE_HD bool shows_second(float first, int64_t first_index, float second) const {
    const bool is_hole = first_index < 0;  // at depth +inf
    return holes_only ? is_hole : first > second * beyond;
  }
};

struct SurfaceJob {
  float* depth;    // (V h w,), of the first, and of the result
  int64_t* index;  // (V h w,)
  const float* second_depth;
  const int64_t* second_index;
  int64_t n;  // V h w
  SurfaceRule rule;

  MIRAGE_HD void composite(int64_t i) const {
    const bool second = rule.shows_second(depth[i], index[i], second_depth[i]);
    depth[i] = second ? second_depth[i] : depth[i];
    index[i] = second ? second_index[i] : index[i];
  }
};

}  // namespace mirage
