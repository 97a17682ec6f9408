// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "../common/frustum.h"
#include "tensor.h"

namespace mirage {

// V cameras over a grid (h, w).
struct CameraTensors {
  Tensor intrinsics, world2cam;  // (V, 3, 3) and (V, 3, 4), contiguous
  int64_t count;                 // V
  int h, w;

  CameraTensors(const Tensor& k, const Tensor& m, int64_t height, int64_t width)
      : intrinsics(expect(k, ScalarType::Float, {m.size(0), 3, 3}, "intrinsics must be float32 (V, 3, 3)")),
        world2cam(expect(m, ScalarType::Float, {-1, 3, 4}, "world2cam must be float32 (V, 3, 4)")), count(m.size(0)),
        h(static_cast<int>(height)), w(static_cast<int>(width)) {
    guard(height > 0 && width > 0 && height <= INT32_MAX / width, "bad grid size");
  }
  int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

// `margin` in cells as in make_frustum.
inline std::vector<View> load_views(const CameraTensors& cameras, float margin = 0.0f) {
  std::vector<View> views(cameras.count);
  for (int64_t i = 0; i < cameras.count; ++i)
    views[i] = load_view(data<float>(cameras.world2cam) + 12 * i, data<float>(cameras.intrinsics) + 9 * i, cameras.h,
                         cameras.w, margin);
  return views;
}

}  // namespace mirage
