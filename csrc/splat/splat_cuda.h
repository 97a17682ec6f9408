// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/frustum.h"
#include "splat/splat_cloud.h"
#include "torch/cuda.h"

// What the modes of splat share on a device. N points, V views, grid (h, w).
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
  Tensor views_of, counts_of;
  View* views;
  unsigned* counts;  // one for every 64 views, clear

  // Also empties keys (V, h w), unless they are null. `margin` in cells as in make_frustum.
  ViewsOnDevice(const CamerasOnDevice& cameras, float margin, Word64* keys, cudaStream_t stream);
};

constexpr float kCornerMargin = 1.0f;  // cells: a point up to half a cell beside the grid still touches it

// Lowers keys (V, h w) by the cells that the points touch in mode "bilinear".
void draw_corners(const Cloud& cloud, const CamerasOnDevice& cameras, const ViewsOnDevice& views, Word64* keys,
                  cudaStream_t stream);

}  // namespace mirage
