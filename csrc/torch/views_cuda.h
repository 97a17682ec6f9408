// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/prepared_views.h"
#include "cuda.h"

namespace mirage {

// V cameras over a grid, guarded.
struct CamerasOnDevice {
  Tensor intrinsics, world2cam;
  int64_t count;
  int h, w;

  CamerasOnDevice(const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w);
  int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

// The same, prepared by the device and kept alive.
struct ViewsOnDevice {
  Tensor words;
  PreparedViews views;
  unsigned* counts;  // one for every kViewsAtOnce views, clear

  // Also does `fill`. `margin` in cells as in make_frustum.
  ViewsOnDevice(const CamerasOnDevice& cameras, float margin, const Fill& fill, cudaStream_t stream);
};

}  // namespace mirage
