// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/device.h"
#include "tensor.h"
#include "torch/launch.h"

// Calls of CUDA. Only Pinned, in pinned.h, waits for a device.
namespace mirage {

inline void fill_bytes(void* at, int value, size_t bytes, cudaStream_t stream) {
  if (bytes) check_cuda(cudaMemsetAsync(at, value, bytes, stream));
}

// A grid of this many blocks along x, the axis that takes 2^31 - 1 of them.
inline unsigned blocks_of(int64_t items, int64_t per_block) {
  const int64_t blocks = ceil_div(items, per_block);
  guard(blocks <= INT32_MAX, "too many elements for one call");
  return static_cast<unsigned>(blocks);
}

struct CudaDevice {
  // Kernels follow any pointer: all tensors of a call must be on one device.
  static void guard_device(const Tensor& like, std::initializer_list<const Tensor*> others) {
    for (const Tensor* other : others)
      guard(!other || (other->is_cuda() == like.is_cuda() && device_index(*other) == device_index(like)),
            "all tensors must be on one device");
  }
};

}  // namespace mirage
