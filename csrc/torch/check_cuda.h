// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include "tensor.h"

namespace mirage {

inline void check_cuda(cudaError_t error) {
  STD_TORCH_CHECK(error == cudaSuccess, "mirage_kernels: CUDA: ", cudaGetErrorString(error), ".");
}

}  // namespace mirage
