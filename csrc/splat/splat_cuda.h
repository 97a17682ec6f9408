// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "splat/splat_kernels.cuh"
#include "torch/boxes.h"
#include "torch/cuda.h"

// What the modes of splat share on a device. N points, V views, grid (h, w).
namespace mirage {
namespace {

constexpr int64_t kBlocksWanted = 1024;  // that keep a large device busy
constexpr int64_t kMostBlocks = 4096;    // more load the same views again and again

// V cameras over a grid, as their tensors say.
struct CamerasOnDevice {
  Tensor intrinsics, world2cam;
  int64_t count;
  int h, w;

  CamerasOnDevice(const Tensor& intrinsics_, const Tensor& world2cam_, int64_t h_, int64_t w_)
      : count(world2cam_.size(0)), h(static_cast<int>(h_)), w(static_cast<int>(w_)) {
    guard(h_ > 0 && w_ > 0 && h_ <= INT32_MAX / w_, "bad grid size");
    intrinsics = expect(intrinsics_, ScalarType::Float, {count, 3, 3}, "intrinsics must be float32 (V, 3, 3)");
    world2cam = expect(world2cam_, ScalarType::Float, {count, 3, 4}, "world2cam must be float32 (V, 3, 4)");
  }
};

// The views, prepared on the device and kept alive.
struct Armed {
  Tensor views_of, counts_of;
  View* views;
  unsigned* counts;  // one for every kViewsAtOnce views
};

// Empties keys (V, h w); they may be null.
inline Armed arm_views(const CamerasOnDevice& cameras, float margin, Word64* keys, cudaStream_t stream) {
  const int64_t v = cameras.count, cells = keys ? v * cameras.h * cameras.w : 0, groups = ceil_div(v, kViewsAtOnce);
  Armed armed;
  armed.views_of = empty_like(cameras.world2cam, {v, kViewWords}, ScalarType::Float);
  armed.counts_of = empty_like(cameras.world2cam, {groups}, ScalarType::Int);
  armed.views = reinterpret_cast<View*>(mutable_data<float>(armed.views_of));
  armed.counts = mutable_data<unsigned>(armed.counts_of);
  const int64_t blocks = std::max(ceil_div(cells, kArmThreads * kArmedByThread), ceil_div(v, kArmThreads));
  launch(arm, blocks_of(std::min(blocks, kMostBlocks), 1), kArmThreads, 0, stream, keys, cells, armed.counts,
         static_cast<int>(groups), data<float>(cameras.intrinsics), data<float>(cameras.world2cam), v, cameras.h,
         cameras.w, margin, armed.views);
  return armed;
}

template <Drawn kDrawn>
void draw_all(const Cloud& cloud, const SomeViews& some, cudaStream_t stream) {
  const int64_t blocks = std::min(ceil_div(cloud.n, kPointsOfWarp * kDrawWarps), kMostBlocks);
  const int64_t aside = std::clamp<int64_t>(kBlocksWanted / (blocks + 1), 1, some.count);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(aside));
  launch(draw<kDrawn, false>, grid, kDrawThreads, 0, stream, cloud, some, PageList{});
}

// Lowers keys (V, h w) by the points.
template <Drawn kDrawn>
void draw_cloud(const Cloud& cloud, const CamerasOnDevice& cameras, const Armed& armed, Word64* keys,
                cudaStream_t stream) {
  const int64_t cells = static_cast<int64_t>(cameras.h) * cameras.w;
  for (int64_t first = 0; first < cameras.count; first += kViewsAtOnce) {
    const int count = static_cast<int>(std::min<int64_t>(cameras.count - first, kViewsAtOnce));
    draw_all<kDrawn>(cloud, {armed.views + first, keys + first * cells, count, cameras.h, cameras.w}, stream);
  }
}

}  // namespace
}  // namespace mirage
