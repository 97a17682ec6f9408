// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "torch/api.h"

namespace mirage {

// An uninitialized tensor. (The tests replace this header: include it by its full path.)
inline Tensor allocate(int64_t dims, const int64_t* shape, const int64_t* strides, int32_t dtype, int32_t device_type,
                       int32_t device_index) {
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_empty_strided(dims, shape, strides, dtype, device_type, device_index, &handle) != TORCH_SUCCESS)
    fail_allocation(device_type, dims, shape);
  return take(handle);
}

}  // namespace mirage
