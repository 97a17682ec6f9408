// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/csrc/stable/tensor.h>

namespace mirage {

// An uninitialized tensor. (The tests replace this header: include it by its full path.)
inline torch::stable::Tensor allocate(int64_t dims, const int64_t* shape, const int64_t* strides, int32_t dtype,
                                      int32_t device_type, int32_t device_index) {
  AtenTensorHandle handle = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(dims, shape, strides, dtype, device_type, device_index, &handle));
  return torch::stable::Tensor(handle);
}

}  // namespace mirage
