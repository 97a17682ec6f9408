// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "torch/check_cuda.h"

// Replaces csrc/torch/launch.h: a launch runs the grid on the host before it returns, and the operations are registered
// in a library of their own.
namespace mirage {

struct OnDevice {
  cudaStream_t stream = nullptr;
  explicit OnDevice(const Tensor&) {}
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
            const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  ::emulation::run_grid(grid, block, shared_bytes, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

constexpr int64_t limit_of(int64_t, int64_t in_tests) { return in_tests; }

}  // namespace mirage

#define MIRAGE_REGISTER_CUDA(m) STABLE_TORCH_LIBRARY_IMPL(mirage_kernels_emulated, CPU, m)
