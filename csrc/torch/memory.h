// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <sstream>
#include <stdexcept>
#include <string>

// Errors for exhausted memory. They contain the words of torch's own allocators, by which Python turns them into
// torch.OutOfMemoryError and other libraries (accelerate's find_executable_batch_size) recognize them.
namespace mirage {

constexpr const char* kNoHostMemory = "mirage_kernels: DefaultCPUAllocator: can't allocate memory.";

[[noreturn]] inline void fail_allocation(int32_t device_type, int64_t dims, const int64_t* shape) {
  std::ostringstream text;
  text << (device_type == aoti_torch_device_type_cpu() ? kNoHostMemory : "mirage_kernels: CUDA out of memory.")
       << " Tried to allocate a tensor of shape (";
  for (int64_t d = 0; d < dims; ++d) text << (d ? ", " : "") << shape[d];
  text << ")";
  throw std::runtime_error(text.str());
}

[[noreturn]] inline void fail_workspace() {
  throw std::runtime_error(std::string(kNoHostMemory) + " Tried to allocate a workspace");
}

}  // namespace mirage
