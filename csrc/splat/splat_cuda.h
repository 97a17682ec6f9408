// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_cloud.h"
#include "torch/views_cuda.h"

// What the modes of splat share on a device. N points, V views, grid (h, w).
namespace mirage {

constexpr float kCornerMargin = 1.0f;  // cells: a point up to half a cell beside the grid still touches it

// Empties keys (V, h w).
inline Fill empty_keys(const CamerasOnDevice& cameras, Word64* keys) {
  return {keys, cameras.count * cameras.cells() * static_cast<int64_t>(sizeof(Word64)), 0xff};
}

// Lowers keys (V, h w) by the cells that the points touch in mode "bilinear".
void draw_corners(const Cloud& cloud, const CamerasOnDevice& cameras, const ViewsOnDevice& views, Word64* keys,
                  cudaStream_t stream);

}  // namespace mirage
