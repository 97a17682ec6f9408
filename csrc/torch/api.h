// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/shim_utils.h>

#include <new>

#include "torch/memory.h"

// What the sources need of torch, by its stable ABI. A build for torch before 2.10 has csrc/classic/torch/api.h in place
// of this header: include it by its full path.
namespace mirage {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline AtenTensorHandle handle_of(const Tensor& t) { return t.get(); }
inline Tensor take(AtenTensorHandle handle) { return Tensor(handle); }  // which the tensor then owns

// A boxed kernel whose std::bad_alloc, of a workspace, is torch's error for exhausted memory.
template <void (*kBoxed)(StableIValue*, uint64_t, uint64_t)>
void run_boxed(StableIValue* stack, uint64_t num_args, uint64_t num_outputs) {
  try {
    kBoxed(stack, num_args, num_outputs);
  } catch (const std::bad_alloc&) {
    fail_workspace();
  }
}

}  // namespace mirage

#define MIRAGE_BOX(function) mirage::run_boxed<TORCH_BOX(function)>
