// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_blend_kernels.cuh"
#include "splat/splat_blend_operands.h"
#include "torch/cuda.h"

namespace mirage {
namespace {

struct BlendOnCuda : CudaDevice {
  static void offsets(const OffsetsOperands& in) {
    const OnDevice on(in.xyz);
    launch(splat_offsets_kernel, blocks_of(in.job.views * in.job.cells(), kBlendThreads), kBlendThreads, 0, on.stream,
           in.job);
  }

  template <class T>
  static void blend(const BlendOperands& in) {
    const OnDevice on(in.features);
    const int64_t groups = ceil_div(in.job.channels, kBlendChannels);
    guard(groups <= 65535, "splat_blend: more than 1,048,560 channels");
    const dim3 grid(blocks_of(in.job.views * in.job.cells(), kBlendThreads), static_cast<unsigned>(groups));
    launch(splat_blend_kernel<T>, grid, kBlendThreads, 0, on.stream, in.job);
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_splat_blend<mirage::BlendOnCuda>(m); }
