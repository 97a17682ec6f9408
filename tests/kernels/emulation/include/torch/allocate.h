// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "torch/memory.h"

// Replaces csrc/torch/allocate.h: what a kernel does not write shows.
namespace mirage {

inline torch::stable::Tensor allocate(int64_t dims, const int64_t* shape, const int64_t* strides, int32_t dtype,
                                      int32_t device_type, int32_t device_index) {
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_empty_strided(dims, shape, strides, dtype, device_type, device_index, &handle) != TORCH_SUCCESS)
    fail_allocation(device_type, dims, shape);
  torch::stable::Tensor tensor(handle);
  ::emulation::fill_with_rubbish(tensor.mutable_data_ptr(), tensor.numel(), tensor.element_size());
  return tensor;
}

}  // namespace mirage
