// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "torch/views_cuda.h"

#include <algorithm>

#include "common/prepare_views.cuh"

namespace mirage {

namespace {

constexpr int64_t kMostBlocks = limit_of(4096, 3);

}  // namespace

CamerasOnDevice::CamerasOnDevice(const Tensor& k, const Tensor& m, int64_t height, int64_t width)
    : count(m.size(0)), h(static_cast<int>(height)), w(static_cast<int>(width)) {
  guard(height > 0 && width > 0 && height <= INT32_MAX / width, "bad grid size");
  intrinsics = expect(k, ScalarType::Float, {count, 3, 3}, "intrinsics must be float32 (V, 3, 3)");
  world2cam = expect(m, ScalarType::Float, {count, 3, 4}, "world2cam must be float32 (V, 3, 4)");
}

ViewsOnDevice::ViewsOnDevice(const CamerasOnDevice& cameras, float margin, const Fill& fill, cudaStream_t stream) {
  constexpr int64_t camera_words = sizeof(CameraOfView) / sizeof(float);
  constexpr int64_t frustum_words = sizeof(Frustum) / sizeof(float);
  const int64_t v = cameras.count, room = ceil_div(v, kQuad) * kQuad, groups = ceil_div(v, kViewsAtOnce);
  words = empty_like(cameras.world2cam, {room * (camera_words + frustum_words) + groups}, ScalarType::Float);
  float* at = mutable_data<float>(words);
  views = {reinterpret_cast<CameraOfView*>(at), reinterpret_cast<Frustum*>(at + room * camera_words)};
  counts = reinterpret_cast<unsigned*>(at + room * (camera_words + frustum_words));
  const int64_t blocks = std::max(ceil_div(fill.bytes, kArmThreads * kFilledByThread), ceil_div(v, kArmThreads));
  launch(arm, static_cast<unsigned>(std::min(blocks, kMostBlocks)), kArmThreads, 0, stream, fill, counts,
         static_cast<int>(groups), data<float>(cameras.intrinsics), data<float>(cameras.world2cam), v, cameras.h,
         cameras.w, margin, views);
}

}  // namespace mirage
