// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat.h"
#include "splat/splat_cloud.h"
#include "torch/views_cuda.h"

// Used by both modes of splat. N points, V views, grid (h, w).
namespace mirage {

// The fill that empties a z-buffer (V, h w).
inline Fill init_zbuffer(const CameraTensors& cameras, Word64* keys) {
  return {keys, cameras.count * cameras.cells() * static_cast<int64_t>(sizeof(Word64)),
          static_cast<uint8_t>(kEmptyKey)};
}

// keys (V, h w): the minimum with those of the points, in the cells of their taps (mode "bilinear").
void rasterize_corners(const SplatPoints& points, const CameraTensors& cameras, const ViewsOnDevice& views,
                       Word64* keys, cudaStream_t stream);

}  // namespace mirage
