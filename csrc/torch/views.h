// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "../common/frustum.h"
#include "tensor.h"

namespace mirage {

// V cameras over a grid (h, w), guarded; `margin` in cells as in make_frustum.
inline std::vector<View> load_views(const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
                                    float margin = 0.0f) {
  guard(h > 0 && w > 0 && h <= INT32_MAX / w, "bad grid size");
  const int64_t v = world2cam.size(0);
  const Tensor k = expect(intrinsics, ScalarType::Float, {v, 3, 3}, "intrinsics must be float32 (V, 3, 3)");
  const Tensor m = expect(world2cam, ScalarType::Float, {v, 3, 4}, "world2cam must be float32 (V, 3, 4)");
  std::vector<View> views(v);
  for (int64_t i = 0; i < v; ++i)
    views[i] = load_view(data<float>(m) + 12 * i, data<float>(k) + 9 * i, static_cast<int>(h), static_cast<int>(w),
                         margin);
  return views;
}

}  // namespace mirage
