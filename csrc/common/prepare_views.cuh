// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device.h"
#include "prepared_views.h"

namespace mirage {

namespace {

constexpr int kPrepareThreads = 256;
constexpr int kFilledByThread = 32;  // bytes

__device__ __forceinline__ void fill_part(const Fill& fill, int64_t thread, int64_t threads) {
  const unsigned word = fill.value * 0x01010101u;
  const uint4 words = make_uint4(word, word, word, word);
  uint8_t* at = static_cast<uint8_t*>(fill.at);
  for (int64_t i = kFilledByThread * thread; i < fill.bytes; i += kFilledByThread * threads) {
    if (i + kFilledByThread <= fill.bytes) {
      reinterpret_cast<uint4*>(at + i)[0] = words;
      reinterpret_cast<uint4*>(at + i)[1] = words;
    } else {
      for (int64_t k = i; k < fill.bytes; ++k) at[k] = fill.value;
    }
  }
}

// Fills memory (an empty z-buffer, say), sets the counts of lists to 0, and prepares V views, whose float64 arithmetic
// is done once.
__global__ void __launch_bounds__(kPrepareThreads)
    views_prepare_kernel(Fill fill, unsigned* counts, int num_counts, const float* intrinsics, const float* world2cam,
                         int64_t num_views, int h, int w, float margin, PreparedViews views) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kPrepareThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kPrepareThreads;
  fill_part(fill, thread, threads);
  for (int64_t i = thread; i < ceil_div(num_views, kQuad) * kQuad; i += threads) {
    const int64_t v = min(i, num_views - 1);
    const View view = load_view(world2cam + 12 * v, intrinsics + 9 * v, h, w, margin);
    views.cameras[i] = {view.world2cam, view.pinhole};
    views.frusta[i] = view.frustum;
  }
  for (int64_t i = thread; i < num_counts; i += threads) counts[i] = 0;
}

}  // namespace
}  // namespace mirage
