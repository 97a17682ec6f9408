// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_pipeline_primitives.h>

#include "device.h"
#include "prepared_views.h"

// Views in shared memory: frusta, which the lanes of a warp test side by side, and cameras, which they read together.
namespace mirage {
namespace {

// By a whole block: begins to copy up to kMaxBytes to shared memory, sixteen at a time.
template <int kMaxBytes, int kThreads>
__device__ __forceinline__ void start_copy(void* to, const void* from, int bytes) {
  char* own = static_cast<char*>(to) + 16 * threadIdx.x;
  const char* own_from = static_cast<const char*>(from) + 16 * threadIdx.x;
  const int left = bytes - 16 * static_cast<int>(threadIdx.x);
#pragma unroll
  for (int at = 0; at < kMaxBytes; at += 16 * kThreads)
    if (at < left) __pipeline_memcpy_async(own + at, own_from + at, 16);
}

template <int kMaxViews, int kThreads>  // views, and threads of the block
struct ViewsOfBlock {
  CameraOfView cameras[kMaxViews];
  Frustum frusta[kMaxViews];  // 45 words, an odd number: lanes that read one each have no bank conflict

  // Begins to load views first .. last - 1, each to its own place. All copies are under way at once, beside
  // whatever else the block loads before it waits.
  __device__ __forceinline__ void start_load(const PreparedViews& from, int first, int last, bool with_frusta = true) {
    const int begin = first / kQuad * kQuad, count = (last + kQuad - 1) / kQuad * kQuad - begin;
    start_copy<sizeof(cameras), kThreads>(cameras + begin, from.cameras + begin,
                                          count * static_cast<int>(sizeof(CameraOfView)));
    if (with_frusta)
      start_copy<sizeof(frusta), kThreads>(frusta + begin, from.frusta + begin,
                                           count * static_cast<int>(sizeof(Frustum)));
    __pipeline_commit();
  }
  __device__ __forceinline__ void wait() const {
    __pipeline_wait_prior(0);
    __syncthreads();
  }

  // By a whole warp: which of views first .. first + 31, up to last - 1, may see a box.
  __device__ __forceinline__ unsigned visible_views_32(const BoxSpan& span, int first, int last) const {
    const int v = first + static_cast<int>(threadIdx.x % kWarp);
    return __ballot_sync(kAllLanes, v < last && !is_culled(frusta[v < last ? v : first], span));
  }
  // The same of up to 64 views, by their numbers.
  __device__ __forceinline__ Word64 visible_views(const BoxSpan& span, int first, int last) const {
    Word64 some = 0;
    for (int next = first; next < last; next += kWarp)
      some |= static_cast<Word64>(visible_views_32(span, next, last)) << next;
    return some;
  }
};

}  // namespace
}  // namespace mirage
