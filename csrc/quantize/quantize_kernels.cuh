// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"
#include "quantize/quantize.h"

namespace mirage {
namespace {

constexpr int kQuantizeThreads = 256;

// A block quantizes a row.
template <class T>
__global__ void __launch_bounds__(kQuantizeThreads) quantize_rows_kernel(QuantizeJob job) {
  __shared__ int32_t largest_of_warp[kQuantizeThreads / kWarp];
  const int64_t n = blockIdx.x;
  const T* row = job.row<T>(n);
  int32_t largest = 0;
  for (int64_t i = threadIdx.x; i < job.m; i += kQuantizeThreads)
    largest = max(largest, finite_magnitude(to_float(row[i])));
  largest = __reduce_max_sync(kAllLanes, largest);
  if (threadIdx.x % kWarp == 0) largest_of_warp[threadIdx.x / kWarp] = largest;
  __syncthreads();
  for (int warp = 0; warp < kQuantizeThreads / kWarp; ++warp) largest = max(largest, largest_of_warp[warp]);
  const float scale = scale_of(largest);
  if (threadIdx.x == 0) job.scale[n] = scale;
  for (int64_t i = threadIdx.x; i < job.m; i += kQuantizeThreads)
    job.steps[n * job.m + i] = static_cast<int8_t>(int8_steps(finite_or_zero(to_float(row[i])), scale));
}

}  // namespace
}  // namespace mirage
