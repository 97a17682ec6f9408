// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_frontmost_kernels.cuh"
#include "splat/splat_frontmost_operands.h"
#include "torch/cuda.h"

namespace mirage {
namespace {

struct FrontmostOnCuda : CudaDevice {
  static void frontmost(const FrontmostOperands& in) {
    const OnDevice on(in.xyz);
    const FrontmostJob& job = in.job;
    const Tensor words = new_empty(in.xyz, {job.views, job.cells()}, ScalarType::Int);
    uint32_t* nearest = mutable_data<uint32_t>(words);
    fill_bytes(nearest, 0xff, words.numel() * sizeof(uint32_t), on.stream);
    const int64_t blocks = ceil_div(job.n, kFrontThreads);
    const auto run = [&](auto kernel) {
      launch(kernel, blocks_of(blocks * job.views, 1), kFrontThreads, 0, on.stream, job, blocks, nearest);
    };
    run(splat_enter_depths_kernel);
    run(splat_test_depths_kernel);
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_frontmost<mirage::FrontmostOnCuda>(m); }
