// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/library.h>

#include <memory>
#include <new>
#include <stdexcept>

#include "torch/memory.h"

// What the sources need of torch, for a torch before 2.10, by its C++ API. The binary serves the one release of torch
// that it was built against. The names in torch:: are those of the stable ABI.
namespace torch::stable {

inline at::Tensor contiguous(const at::Tensor& t) {
  try {
    return t.contiguous();
  } catch (const c10::Error& error) {
    throw std::runtime_error(error.what_without_backtrace());
  }
}

template <class Run>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Run& run) {
  at::parallel_for(begin, end, grain, run);
}

inline int64_t get_num_threads() { return at::get_num_threads(); }

namespace accelerator {

class DeviceGuard {
 public:
  explicit DeviceGuard(int32_t index) : guard_(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index))) {}

 private:
  c10::DeviceGuard guard_;
};

}  // namespace accelerator
}  // namespace torch::stable

namespace mirage {

using at::ScalarType;
using at::Tensor;

inline AtenTensorHandle handle_of(const Tensor& t) {
  return reinterpret_cast<AtenTensorHandle>(const_cast<Tensor*>(&t));
}

inline Tensor take(AtenTensorHandle handle) {
  return std::move(*std::unique_ptr<Tensor>(reinterpret_cast<Tensor*>(handle)));
}

// A kernel whose std::bad_alloc, of a workspace, is torch's error for exhausted memory.
template <auto kFunction>
struct Kernel;

template <class Result, class... Arguments, Result (*kFunction)(Arguments...)>
struct Kernel<kFunction> {
  static Result run(Arguments... arguments) {
    try {
      return kFunction(arguments...);
    } catch (const std::bad_alloc&) {
      fail_workspace();
    }
  }
};

}  // namespace mirage

#define MIRAGE_BOX(function) &mirage::Kernel<function>::run
#define STABLE_TORCH_LIBRARY_IMPL TORCH_LIBRARY_IMPL
#ifndef STD_TORCH_CHECK
#define STD_TORCH_CHECK TORCH_CHECK
#endif
#ifndef TORCH_ERROR_CODE_CHECK
#define TORCH_ERROR_CODE_CHECK(call) TORCH_CHECK((call) == AOTI_TORCH_SUCCESS, "mirage_kernels: " #call)
#endif
#ifndef TORCH_SUCCESS
#define TORCH_SUCCESS AOTI_TORCH_SUCCESS
#endif
