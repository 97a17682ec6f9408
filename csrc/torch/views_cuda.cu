// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "torch/views_cuda.h"

#include <algorithm>

#include "common/prepare_views.cuh"

namespace mirage {

namespace {

constexpr int64_t kMaxBlocks = limit_of(4096, 3);

}  // namespace

ViewsOnDevice::ViewsOnDevice(const CameraTensors& cameras, float margin, const Fill& fill, cudaStream_t stream) {
  constexpr int64_t camera_words = sizeof(CameraOfView) / sizeof(float);
  constexpr int64_t frustum_words = sizeof(Frustum) / sizeof(float);
  const int64_t v = cameras.count, room = ceil_div(v, kQuad) * kQuad, groups = ceil_div(v, kViewBatch);
  words = new_empty(cameras.world2cam, {room * (camera_words + frustum_words) + groups}, ScalarType::Float);
  float* at = mutable_data<float>(words);
  views = {reinterpret_cast<CameraOfView*>(at), reinterpret_cast<Frustum*>(at + room * camera_words)};
  counts = reinterpret_cast<unsigned*>(at + room * (camera_words + frustum_words));
  const int64_t blocks = std::max(ceil_div(fill.bytes, kPrepareThreads * kFilledByThread),
                                  ceil_div(v, kPrepareThreads));
  launch(views_prepare_kernel, static_cast<unsigned>(std::min(blocks, kMaxBlocks)), kPrepareThreads, 0, stream, fill,
         counts, static_cast<int>(groups), data<float>(cameras.intrinsics), data<float>(cameras.world2cam), v,
         cameras.h, cameras.w, margin, views);
}

}  // namespace mirage
