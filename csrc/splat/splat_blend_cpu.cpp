// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "splat/splat_blend_isa.h"
#include "splat/splat_blend_operands.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMinCellsPerThread = 8192;  // or as many values of cells

struct BlendOnCpu : CpuDevice {
  static void offsets(const OffsetsOperands& in) {
    const OffsetsJob& job = in.job;
    const BlendKernels& kernels = MIRAGE_KERNELS(blend_kernels);
    parallel_for(0, job.views * job.h, std::max<int64_t>(1, kMinCellsPerThread / job.w),
                 [&](int64_t row, int64_t last) {
                   for (; row < last; ++row) kernels.offsets(job, row / job.h, static_cast<int>(row % job.h));
                 });
  }

  template <class T>
  static void blend(const BlendOperands& in) {
    const BlendJob& job = in.job;
    const BlendKernels& kernels = MIRAGE_KERNELS(blend_kernels);
    const int64_t groups = ceil_div(job.h, kBlendRows);
    const int64_t grain = std::max<int64_t>(1, kMinCellsPerThread / (kBlendRows * job.w * (job.channels + 1)));
    parallel_for(0, job.views * groups, grain, [&](int64_t group, int64_t end) {
      const auto scratch = std::make_unique_for_overwrite<float[]>(blend_scratch(job.w));
      for (; group < end; ++group) {
        const int first = static_cast<int>(group % groups * kBlendRows), last = std::min(first + kBlendRows, job.h);
        kernels.of(T{})(job, group / groups, first, last, scratch.get());
      }
    });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_splat_blend<mirage::BlendOnCpu>(m); }
